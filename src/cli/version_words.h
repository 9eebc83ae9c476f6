// SPDX-License-Identifier: Apache-2.0
//
// The words of the commands about versions, ls, lock and check, and adopt. Threads: main only.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "commands.h"

namespace hffs::cli {

struct VersionWords {
  ListArguments list;
  LockArguments lock;
  CheckArguments check;
  AdoptArguments adopt;
};
void add_version_commands(CLI::App& app, VersionWords& words);
// The exit code; nothing: the command is another's.
std::optional<Result<int>> run_version_command(const std::string& command, const VersionWords& words);

void add_state_dir(CLI::App* command, Flags& flags);
// --mount and --state-dir: the daemon that a command means.
void add_daemon(CLI::App* command, DaemonName& where);

}  // namespace hffs::cli
