// SPDX-License-Identifier: Apache-2.0
//
// SignedUrls: where a file's bytes lie, as the endpoint said last, in memory only; and one question
// at a time per file, so that sixteen ranges of one file cost one redirect. Network thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "address.h"
#include "hffs/clock.h"
#include "url.h"

namespace hffs::hub {

// How long a signed address may be used: to 60 s before it expires, at most 50 minutes.
std::chrono::seconds usable_for(const Url& url, WallTime now);

class SignedUrls {
 public:
  // What the one who asked found out.
  enum class Found : std::uint8_t {
    address,    // find() has it
    direct,     // the endpoint itself sends the bytes: ask it
    nothing,    // it failed; `error` says why
    abandoned,  // it gave up: somebody else must ask
  };
  using Waiter = std::move_only_function<void(Found, const Error*)>;

  explicit SignedUrls(const Clock& clock) : clock_(clock) {}

  struct Address {
    Url url;
    Zone sender;  // of whoever gave it: who may send us there now, may later
  };
  std::optional<Address> find(const std::string& file);
  bool is_direct(const std::string& file);
  // True: nobody asks for this file now; the caller does, and must land(). False: `waiter` hears.
  bool join(const std::string& file, Waiter waiter);
  // The question has ended; who waited must be told, by the caller.
  std::vector<Waiter> land(const std::string& file);

  void remember(const std::string& file, const Address& address);
  void remember_direct(const std::string& file);
  // Unless another address is known by now.
  void forget(const std::string& file, const Url& url);

 private:
  struct Known {
    std::optional<Address> address;  // nothing: direct
    Instant until{};
  };
  const Known* current(const std::string& file);
  void keep(const std::string& file, Known known);

  const Clock& clock_;
  std::map<std::string, Known> known_;
  std::map<std::string, std::vector<Waiter>> asking_;
};

}  // namespace hffs::hub
