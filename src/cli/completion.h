// SPDX-License-Identifier: Apache-2.0
//
// Completion scripts, made from the table of commands. Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "command_list.h"

namespace hffs::cli {

std::string bash_script(const std::vector<CommandInfo>& commands);
std::string zsh_script(const std::vector<CommandInfo>& commands);
std::string fish_script(const std::vector<CommandInfo>& commands);

// What completes a value: "file", "directory", "repo", "place" (a path or a repository), "command", or words with a space
// between; empty: nothing does.
std::string values_of(const OptionInfo& option);

}  // namespace hffs::cli
