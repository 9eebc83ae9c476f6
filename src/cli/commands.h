// SPDX-License-Identifier: Apache-2.0
//
// The commands of the program. Each blocks until it is done, prints its answer on standard output,
// and gives back what went wrong. Threads: main only.
#pragma once

#include <string>

#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs::cli {

struct UmountArguments {
  std::string mount_point;
  bool lazy = false;
};
struct StatusArguments {
  std::string mount_point;  // empty: the daemon of the state directory
  bool json = false;
  Flags flags;
};
struct PathArguments {
  std::string repo;         // "REPO" or "REPO@REVISION"
  std::string mount_point;  // empty: where the daemon of the state directory has mounted
  Flags flags;
};

Result<void> mount(const Flags& flags);
Result<void> umount(const UmountArguments& arguments);
Result<void> status(const StatusArguments& arguments);
Result<void> path(const PathArguments& arguments);

// The socket of the daemon that serves a mount point, from the link in its root.
Result<std::string> load_control_link(const std::string& mount_point);

}  // namespace hffs::cli
