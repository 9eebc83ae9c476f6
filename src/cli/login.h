// SPDX-License-Identifier: Apache-2.0
//
// login and logout: a user's token goes to the daemon over its socket, and is asked for without an echo.
// Threads: main only; blocks on the terminal and the daemon.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "ask.h"

namespace hffs::cli {

struct LoginArguments {
  std::string token_file;  // "-": standard input; empty: the terminal, or HF_TOKEN
  bool json = false;
  DaemonName where;
};
void add_login_commands(CLI::App& app, LoginArguments& words);
// The exit code; nothing: the command is another's.
std::optional<Result<int>> run_login_command(const std::string& command, const LoginArguments& words);

}  // namespace hffs::cli
