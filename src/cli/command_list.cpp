// SPDX-License-Identifier: Apache-2.0
#include "command_list.h"

namespace hffs::cli {
namespace {

// "text", which the library calls what takes any.
std::string value_name(const CLI::Option& option) {
  return option.get_type_size() == 0 ? std::string() : option.get_type_name();
}

OptionInfo describe_option(const CLI::Option& option) {
  OptionInfo made{.names = {}, .what = option.get_description(), .value = value_name(option),
                  .required = option.get_required(), .repeatable = option.get_items_expected_max() > 1};
  if (option.get_positional()) {
    made.names = {option.get_name(true)};
    // The name says what it is, unless more is known of it.
    if (made.value == "TEXT" || made.value.starts_with("TEXT")) made.value = made.names.front();
    return made;
  }
  for (const std::string& name : option.get_snames()) made.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) made.names.push_back("--" + name);
  return made;
}

CommandInfo describe(const CLI::App& command, const std::string& name, const std::string& group) {
  CommandInfo made{name, group, command.get_description(), command.get_footer(), {}, {}};
  for (const CLI::Option* option : command.get_options())
    if (!option->get_group().empty())
      (option->get_positional() ? made.positionals : made.options).push_back(describe_option(*option));
  return made;
}

}  // namespace

std::vector<CommandInfo> list_commands(const CLI::App& app) {
  std::vector<CommandInfo> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); })) {
    const auto below = command->get_subcommands([](const CLI::App*) { return true; });
    if (below.empty()) commands.push_back(describe(*command, command->get_name(), command->get_group()));
    for (const CLI::App* each : below)
      commands.push_back(describe(*each, command->get_name() + " " + each->get_name(), command->get_group()));
  }
  return commands;
}

nlohmann::json to_json(const std::vector<CommandInfo>& commands) {
  using nlohmann::json;
  const auto list = [](const std::vector<OptionInfo>& options) {
    json made = json::array();
    for (const OptionInfo& each : options)
      made.push_back({{"names", each.names},
                      {"what", each.what},
                      {"value", each.value.empty() ? json() : json(each.value)},
                      {"required", each.required},
                      {"repeatable", each.repeatable}});
    return made;
  };
  json all = json::array();
  for (const CommandInfo& each : commands)
    all.push_back({{"name", each.name},
                   {"group", each.group},
                   {"summary", each.summary},
                   {"help", each.help},
                   {"options", list(each.options)},
                   {"positionals", list(each.positionals)}});
  return all;
}

}  // namespace hffs::cli
