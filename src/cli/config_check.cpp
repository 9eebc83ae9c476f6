// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

std::string origin_of(const SettingsReport::Setting& setting) {
  return setting.from.empty() ? setting.source : fmt::format("{} {}", setting.source, setting.from);
}

}  // namespace

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
    settings[each.name] = {{"value", json::parse(each.value)},
                           {"source", each.source},
                           {"from", each.from.empty() ? json() : json(each.from)}};
  fmt::print("{}\n", json{{"file", report->file.empty() ? json() : json(report->file)},
                          {"settings", std::move(settings)}}
                         .dump(2));
  return {};
}

}  // namespace hffs::cli
