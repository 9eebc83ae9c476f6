// SPDX-License-Identifier: Apache-2.0
//
// A command of the user's that is run as a shell would run it. Threads: main only; blocks until it ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "hffs/error.h"

namespace hffs::cli {

// What is done while it runs, each time that this long has passed.
struct Meanwhile {
  std::chrono::milliseconds pause{50};
  std::function<void(pid_t child)> look;  // empty: nothing
};

// From here on whoever loses its parent among our descendants becomes our child, and so stays findable.
Result<void> become_reaper();

// The command's exit code, 128 + the signal that ended it, or 126 and 127 as shells have them. SIGINT and SIGQUIT are the
// command's business.
Result<int> run_child(const std::vector<std::string>& command, const Meanwhile& meanwhile = {});

}  // namespace hffs::cli
