// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"

namespace hffs::cli {
namespace {

constexpr const char* kConfigHelp = R"(Flags and environment count as they would for `hffs mount`. Secrets are not printed.

Examples:
  hffs config check                        what `hffs mount` would use here
  hffs config check new.toml && sudo mv new.toml /etc/hffs/config.toml && sudo systemctl reload hffs)";


struct ConfigArguments {
  bool json = false;
  Flags flags;  // config_file: which one
};

using nlohmann::json;

std::string origin_of(const SettingsReport::Setting& setting) {
  return setting.from.empty() ? setting.source : fmt::format("{} {}", setting.source, setting.from);
}

Result<void> check_config(const ConfigArguments& arguments) {
  const auto report = report_config(arguments.flags, process_environment());
  if (!report) return fail(Error(report.error()));
  if (!arguments.json) {
    fmt::print("file: {}\n", report->file.empty() ? "none" : report->file);
    for (const auto& each : report->settings)
      fmt::print("{} = {}  # {}\n", each.name, each.value, origin_of(each));
    return {};
  }
  json settings = json::object();
  for (const auto& each : report->settings)
    settings[each.name] = {{"value", parse_json(each.value)},
                           {"source", each.source},
                           {"from", each.from.empty() ? json() : json(each.from)}};
  fmt::print("{}\n", pretty_json({{"file", report->file.empty() ? json() : json(report->file)}, {"settings", std::move(settings)}}));
  return {};
}

}  // namespace

void add_config(CommandTable& table) {
  auto words = std::make_shared<ConfigArguments>();
  auto* config = table.add("config", "Look at the settings", "", [words] { return check_config(*words); });
  config->require_subcommand(1);
  auto* check = config->add_subcommand("check", "Say what a mount would use, and from where; or what is wrong");
  check->footer(kConfigHelp);
  check->add_option("FILE", words->flags.config_file, "A configuration file [the one that a mount would read]");
  add_json(check, words->json);
  add_settings(check, words->flags);
}

}  // namespace hffs::cli
