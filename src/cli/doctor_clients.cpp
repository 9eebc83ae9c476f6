// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "client_variables.h"
#include "doctor.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

std::string use_line(const Patient& patient) {
  return fmt::format("eval \"$({})\"", command_line({"hffs", "env", patient.mount_point}));
}

}  // namespace

// Of a mount that answers alone: to look at another's paths could hang.
Checks check_clients(const Patient& patient) {
  if (!patient.status) return {};
  Checks checks;
  bool elsewhere = false;
  for (const VariableFinding& each : find_variables(patient.environment, patient.mount_point)) {
    elsewhere = elsewhere || each.harm == VariableFinding::Harm::replaced;
    const bool replaced = each.harm == VariableFinding::Harm::replaced;
    checks.push_back(doubtful(each.name, fmt::format("{} {}", each.value, each.why),
                              {.run = replaced ? use_line(patient) : unset_line(each.name, Shell::sh), .who = {}}));
  }
  const auto cache = patient.environment("HF_HUB_CACHE");
  if (!cache || cache->empty())
    checks.push_back(doubtful("HF_HUB_CACHE", "it is not set: clients in this shell do not use the mount",
                              {.run = use_line(patient), .who = {}}));
  else if (!elsewhere)
    checks.push_back(good("HF_HUB_CACHE", *cache));
  return checks;
}

Checks check_settings(const Patient& patient) {
  if (!patient.config_error) {
    const auto report = report_config(patient.flags, patient.environment);
    return {good("settings", report && !report->file.empty() ? report->file : "no file")};
  }
  return {bad("settings", patient.config_error->code, patient.config_error->message,
              {.run = {}, .who = ::geteuid() == 0 ? "root corrects it; `hffs config check` says when it is right"
                                                  : "you, or whose file it is, correct it; `hffs config check` says when it is right"})};
}

}  // namespace hffs::cli
