// SPDX-License-Identifier: Apache-2.0
//
// A worker as its keeper sees it: a process, and a channel to it. Threads: the keeper's one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>

#include "channel.h"
#include "hffs/keeper.h"

namespace hffs::keeper {

struct Worker {
  pid_t pid = 0;
  UniqueFd process;
  std::optional<Channel> channel;  // nothing: it has closed it
  std::chrono::steady_clock::time_point heard;
  bool spoke = false;
  std::optional<std::chrono::steady_clock::time_point> serving;
  std::optional<Error> failure;
};

// Runs the program as it is now, or as this process has it. It may have ended already.
Result<Worker> start_worker(const KeeperOptions& options, bool own_image);
// Kills it, with all processes that it has started, unless it has ended, and waits until none is left: its status. `stuck`: they
// do not end, for they wait for something. Once. The caller is the reaper of its descendants.
int end_worker(const Worker& worker, const std::function<void()>& stuck);

}  // namespace hffs::keeper
