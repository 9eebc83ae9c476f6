// SPDX-License-Identifier: Apache-2.0
//
// What a command and its descendants wait for in the mount, and what was refused to them: the daemon knows it by their
// numbers. Threads: main only; asks the daemon, shortly.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "ask.h"

namespace hffs::cli {

// Every thread of a process and of its descendants, as far as /proc tells.
void collect_threads(pid_t process, std::set<pid_t>& threads);

class Watch {
 public:
  // `show`: waiting is told on standard error.
  Watch(DaemonName where, bool show);
  ~Watch() { clear(); }
  // Notes who belongs to the command; asks once a second. A daemon that does not know the question is not asked again.
  void look(pid_t child);
  // The failures that its processes got, each once.
  void print_failures();

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Sample {
    Time time;
    std::uint64_t here = 0;
  };
  bool is_ours(pid_t thread) const { return threads_.contains(thread); }
  Result<nlohmann::json> ask_activity(const char* part);
  void show(const nlohmann::json& readers);
  std::string words_for(const nlohmann::json& reader);
  std::string why_stalled(std::chrono::seconds silent) const;
  void write(const std::string& line);
  void clear();

  const DaemonName where_;
  const bool show_, terminal_;
  const std::int64_t began_;  // as the daemon's times are
  bool knows_ = true;
  bool written_ = false;
  Time asked_{};
  std::set<pid_t> threads_;
  std::map<std::string, std::deque<Sample>> samples_;  // by file; of the last seconds
};

}  // namespace hffs::cli
