// SPDX-License-Identifier: Apache-2.0
//
// Jobs: long work that is asked for over the control socket. {"command":NAME} starts it and answers
// with its number, {"command":"NAME-progress"} looks at it. One at a time of each name; one that
// nobody looks at any more is stopped. Threads: any may ask; one of its own stops what was left.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "hffs/error.h"
#include "hffs/guarded.h"

namespace hffs {

// The destructor stops it.
class Job {
 public:
  virtual ~Job() = default;
  // "doing", "files_done", "files", "bytes_done", "bytes".
  virtual nlohmann::json progress() const = 0;
  // An object; nothing while it works.
  virtual std::optional<Result<nlohmann::json>> report() const = 0;
};

class Jobs {
 public:
  explicit Jobs(std::string name);

  // {"job": number}. Code::busy while another is under way.
  Result<nlohmann::json> start(const std::function<Result<std::unique_ptr<Job>>()>& make);
  // "job"; "from": where the report's lists go on. They come in pages; "next" is where the next one
  // begins.
  Result<nlohmann::json> look(const nlohmann::json& request);

 private:
  struct Last {
    std::uint64_t number = 0;
    std::unique_ptr<Job> job;
    std::optional<Result<nlohmann::json>> report;
    std::chrono::steady_clock::time_point looked_at{};
    bool works();
  };

  void watch(const std::stop_token& stop);

  const std::string name_;
  Guarded<Last> last_;
  std::condition_variable_any wake_;
  std::jthread watcher_;
};

}  // namespace hffs
