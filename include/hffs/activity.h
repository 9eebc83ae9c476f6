// SPDX-License-Identifier: Apache-2.0
//
// Activity: who reads what in the mount just now, who waits, and which operations failed a short while ago and why; a
// reader itself gets an errno and no more. In memory only, and bounded: of too many the oldest is forgotten.
//
// Threads: any. Nothing blocks; of a thread that is new, and of who failed, /proc is looked at.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "hffs/access.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/guarded.h"

namespace hffs {

class Activity {
 public:
  // A reader that has done nothing for so long is none any more, unless it waits.
  static constexpr std::chrono::seconds kQuiet{60};

  explicit Activity(const Clock& clock) : clock_(clock) {}

  // A blob was opened; `passthrough`: what the caller reads of it, the daemon does not see.
  void opened(const Caller& caller, NodeId blob, bool passthrough);
  // A READ of a blob has come, and was answered with so many bytes. Each began() has its ended().
  void began(const Caller& caller, NodeId blob);
  void ended(const Caller& caller, NodeId blob, std::uint64_t bytes);
  // An operation failed for a reason that its caller cannot know. True: it is news; the same is told of once a minute.
  bool failed(const Caller& caller, NodeId node, std::string_view operation, const Error& error);

  // Of who fails in many ways, each of which is news: may a line of the log tell of one more?
  struct Line {
    bool granted = false, last = false;  // the last one of this minute
    std::uint64_t left_out = 0;          // of the minute before, which nobody was told of yet
  };
  Line take_line(uid_t user);

  struct Reader {
    pid_t process = 0;
    uid_t uid = 0;
    NodeId blob;
    bool passthrough = false;
    std::uint64_t opens = 0, reads = 0, bytes = 0;
    std::chrono::milliseconds idle{0};
    std::optional<std::chrono::milliseconds> waiting;  // its oldest READ that is not answered
  };
  std::vector<Reader> readers() const;

  struct Failure {
    WallTime when{};  // the last time
    pid_t process = 0;
    uid_t uid = 0;
    std::string program;
    std::string operation;
    NodeId node;
    Error error;
    std::uint64_t count = 1;
  };
  // The latest first.
  std::vector<Failure> failures() const;

 private:
  struct State {
    struct Reading {
      Reader reader;
      Instant last{};
      std::deque<Instant> begun;  // of READs that are not answered
    };
    // By thread, as FUSE tells of who asks, user, and blob.
    std::map<std::tuple<pid_t, uid_t, std::uint64_t>, Reading> readings;
    std::deque<std::pair<Failure, Instant>> failures;  // the latest last; when it was told of
    struct Lines {
      Instant since{};
      std::uint64_t asked = 0;
    };
    std::map<uid_t, Lines> lines;  // of the last minute
  };
  // With `act` under the lock, if there is room for one more.
  void change(const Caller& caller, NodeId blob, const std::function<void(State::Reading&)>& act);
  bool make_room(State& state) const;

  const Clock& clock_;
  mutable Guarded<State> state_;
};

// The process of a thread, and what a process calls itself (proc(5)); 0 and "" where it has gone.
pid_t process_of(pid_t thread);
std::string program_of(pid_t process);

}  // namespace hffs
