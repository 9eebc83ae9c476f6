// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "client_variables.h"
#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

constexpr const char* kEnvHelp = R"help(Prints what makes the Hub's clients read the mount, and takes away what would keep them from it; standard
error tells which variables were in the way, and why. HF_HOME is never set: tokens belong on your own disk.

Examples:
  eval "$(hffs env)"                       for this shell: the mount of the default state directory
  eval "$(hffs env ~/hf --offline-clients)"    clients ask the mount alone, and need no network
  hffs env --shell fish | source
  eval "`hffs env --shell csh`")help";

struct EnvArguments {
  std::string shell = "sh";
  bool offline_clients = false, json = false;
  DaemonName where;
};

void print_variables(const std::string& mount_point, const std::vector<VariableFinding>& findings,
                     const EnvArguments& words) {
  using nlohmann::json;
  json set = json::object(), unset = json::array(), warnings = json::array();
  for (const auto& [name, value] : client_variables(mount_point, words.offline_clients)) set[name] = value;
  for (const VariableFinding& each : findings) {
    if (each.harm != VariableFinding::Harm::replaced) unset.push_back(each.name);
    warnings.push_back({{"variable", each.name}, {"value", each.value}, {"says", each.why}});
  }
  fmt::print("{}\n", pretty_json({{"mount_point", mount_point}, {"set", set}, {"unset", unset}, {"warnings", warnings}}));
}

Result<void> print_environment(const EnvArguments& words) {
  const Shell shell = words.shell == "fish" ? Shell::fish : words.shell == "csh" ? Shell::csh : Shell::sh;
  const auto mount_point = find_mount(words.where);
  if (!mount_point) return fail(Error(mount_point.error()));
  const auto findings = find_variables(process_environment(), *mount_point);
  print_findings(findings);
  if (words.json) {
    print_variables(*mount_point, findings, words);
    return {};
  }
  for (const auto& [name, value] : client_variables(*mount_point, words.offline_clients))
    fmt::print("{}\n", export_line(name, value, shell));
  for (const VariableFinding& each : findings)
    if (each.harm != VariableFinding::Harm::replaced) fmt::print("{}\n", unset_line(each.name, shell));
  return {};
}

}  // namespace

void add_env(CommandTable& table) {
  auto words = std::make_shared<EnvArguments>();
  auto* command = table.add("env", "Print what makes clients use the mount", kEnvHelp,
                            [words] { return print_environment(*words); });
  command->add_option("MNT", words->where.mount_point, "Where hffs is mounted [the daemon of the state directory]");
  command->add_option("--shell", words->shell, "What the lines are for [sh]")
      ->type_name("sh|fish|csh")
      ->check([](const std::string& given) -> std::string {
        if (given == "sh" || given == "fish" || given == "csh") return {};
        return fmt::format("'{}' is none of sh, fish and csh", given);
      });
  command->add_flag("--offline-clients", words->offline_clients, "Clients send no request: HF_HUB_OFFLINE=1");
  add_json(command, words->json);
  add_state_dir(command, words->where.flags);
}

}  // namespace hffs::cli
