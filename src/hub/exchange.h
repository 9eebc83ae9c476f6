// SPDX-License-Identifier: Apache-2.0
//
// Exchange: one request and its answer, and the callbacks that libcurl calls for it. Network
// thread.
#pragma once

#include "guard.h"
#include "http_loop.h"

namespace hffs::hub {

class Exchange {
 public:
  Exchange(HttpRequest asked, std::shared_ptr<Listener> hears, const Clock& clock)
      : request(std::move(asked)), listener(std::move(hears)), clock_(clock) {}

  // False: it cannot begin, and ending() says why.
  bool prepare(const TransportSettings& settings);
  Ending ending(CURLcode code) const;
  void touch() { last_activity = clock_.now(); }
  // Headers count when all have come, a body's bytes as they come.
  Instant stalls_at() const { return last_activity + request.stall_timeout; }

  const HttpRequest request;
  std::shared_ptr<Listener> listener;  // empty: aborted
  EasyHandle easy;
  bool paused = false;
  bool stopped = false;
  bool launched = false;
  Instant last_activity{};

 private:
  static std::size_t header_callback(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t body_callback(char* data, std::size_t size, std::size_t count, void* self);
  bool take_header(std::string_view line);
  std::string why(CURLcode code) const;
  std::size_t take_body(std::span<const std::byte> bytes);

  const Clock& clock_;
  std::optional<Guard> guard_;
  HeaderList header_list_;
  Headers headers_;
  int status_ = 0;
  std::size_t header_bytes_ = 0;
  bool answered_ = false;  // all headers have come
};

}  // namespace hffs::hub
