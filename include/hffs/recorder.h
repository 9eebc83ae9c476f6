// SPDX-License-Identifier: Apache-2.0
//
// Recorder: what a program reads in the mount, for who wants to know afterwards (`hffs lock`). A
// recording has a root process; to it belong the opens of the root's descendants, told by their
// parents in /proc at the moment of the open, which waits for us meanwhile. So threads, children and
// what reads by mmap or passthrough belong to it; a process that was given to another parent does not,
// for which the root makes itself the reaper of its descendants (prctl(2), PR_SET_CHILD_SUBREAPER).
// Not seen are processes of a pid namespace above ours, or hidden from us (hidepid), and files that
// were open before.
//
// Threads: any. Nothing blocks but looking at /proc, while there is a recording.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "hffs/access.h"
#include "hffs/catalog.h"
#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/versions.h"

namespace hffs {

class Recorder {
 public:
  // Until this long after begin() the kernel may still believe a repository's name (access.h), and not
  // tell of a walk through it.
  static constexpr std::chrono::milliseconds kSettles{1'000};

  // Of the process `root` and its descendants, until end() or the root's own end. Code::not_found: no
  // such process. Code::busy: there are too many recordings.
  Result<std::uint64_t> begin(pid_t root);
  // Code::not_found: there is none of this number with this root.
  Result<Walk> end(std::uint64_t number, pid_t root);

  bool active() const { return active_.load(std::memory_order_relaxed); }
  // The recording that an act of the caller belongs to; 0: none. One inside another has its own.
  std::uint64_t find(pid_t caller);
  void looked_up(std::uint64_t recording, NodeId parent, std::string_view name, NodeId found);
  void read_ref(std::uint64_t recording, NodeId ref, const std::string& commit);
  void opened(std::uint64_t recording, NodeId blob);

 private:
  struct Recording {
    pid_t root = 0;
    std::uint64_t root_started = 0;  // the clock ticks of proc(5): a pid may be used again
    Walk walk;
  };
  struct State {
    std::map<std::uint64_t, Recording> recordings;
    std::uint64_t next = 1;
    std::chrono::steady_clock::time_point looked{};  // whether the roots are still there
  };
  void forget_dead(State& state);
  static Walk* walk_of(State& state, std::uint64_t recording);

  std::atomic<bool> active_ = false;
  Guarded<State> state_;
};

}  // namespace hffs
