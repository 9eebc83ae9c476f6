// SPDX-License-Identifier: Apache-2.0
//
// The table of commands as data: what completion and the manual pages are made from. Threads: pure functions.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hffs::cli {

struct OptionInfo {
  std::vector<std::string> names;  // "-o", "--output"; of a positional its one name
  std::string what;
  std::string value;  // "FILE", "sh|fish|csh"; of a flag nothing
  bool required = false;
  bool repeatable = false;
};
struct CommandInfo {
  std::string name;  // "config check" of a command below another
  std::string group, summary, help;
  std::vector<OptionInfo> options, positionals;
};
// Those that are shown, in the order of the help.
std::vector<CommandInfo> list_commands(const CLI::App& app);
nlohmann::json to_json(const std::vector<CommandInfo>& commands);

}  // namespace hffs::cli
