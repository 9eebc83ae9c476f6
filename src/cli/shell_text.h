// SPDX-License-Identifier: Apache-2.0
//
// Words as shells read them. Threads: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hffs::cli {

enum class Shell { sh, fish, csh };

// One word, whatever is in it; as it is where that says the same.
std::string shell_word(std::string_view word, Shell shell = Shell::sh);
// A command line for sh.
std::string command_line(const std::vector<std::string>& words);

std::string export_line(std::string_view name, std::string_view value, Shell shell);
std::string unset_line(std::string_view name, Shell shell);

}  // namespace hffs::cli
