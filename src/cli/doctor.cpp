// SPDX-License-Identifier: Apache-2.0
#include "doctor.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"

namespace hffs::cli {
namespace {

constexpr const char* kDoctorHelp = R"(Looks at everything between a program and its model, from the kernel to the Hub, and says for what is
wrong which command repairs it, or who can. It changes nothing, and ends within 20 seconds. Flags are those of
`hffs mount`: what a mount with them would meet. The exit code is that of the first thing that fails.

Examples:
  hffs doctor                              the daemon of the default state directory, or what keeps one from running
  hffs doctor ~/hf
  hffs doctor --json | jq '.checks[] | select(.result != "ok")')";

using nlohmann::json;

constexpr std::array<const char*, 3> kGrades{"ok", "warn", "fail"};

json to_json(const Check& check) {
  const auto text = [](const std::string& value) { return value.empty() ? json() : json(value); };
  return {{"name", check.name},
          {"result", kGrades.at(static_cast<std::size_t>(check.grade))},
          {"says", check.says},
          {"code", check.grade == Grade::fail ? json(info(check.code).name) : json()},
          {"run", text(check.run)},
          {"who", text(check.who)}};
}

void print_check(const Check& check) {
  static constexpr std::array<const char*, 3> kShown{"ok", "warn", "FAIL"};
  fmt::print("{:<5} {:<14} {}\n", kShown.at(static_cast<std::size_t>(check.grade)), check.name, printable(check.says));
  if (!check.run.empty()) fmt::print("      run: {}\n", printable(check.run));
  if (!check.who.empty()) fmt::print("      {}\n", printable(check.who));
}

Result<int> diagnose(const Flags& flags, bool as_json) {
  Patient patient = examine(flags);
  Checks checks;
  const auto add = [&](Checks found) {
    std::move(found.begin(), found.end(), std::back_inserter(checks));
  };
  add(check_machine(patient));
  add(check_mounts(patient));
  add(check_state(patient));
  add(check_network(patient));
  add(check_clients(patient));
  add(check_settings(patient));

  const auto first = std::ranges::find(checks, Grade::fail, &Check::grade);
  const int code = first == checks.end() ? 0 : info(first->code).exit_code;
  if (as_json) {
    json list = json::array();
    for (const Check& each : checks) list.push_back(to_json(each));
    fmt::print("{}\n", pretty_json({{"ok", code == 0}, {"exit_code", code}, {"checks", std::move(list)}}));
  } else {
    for (const Check& each : checks) print_check(each);
  }
  std::fflush(nullptr);
  // A thread that hangs must not meet the end of what it uses.
  if (patient.hangs) std::_Exit(code);
  return code;
}

}  // namespace

Check good(std::string name, std::string says) {
  return {.name = std::move(name), .says = std::move(says)};
}
Check doubtful(std::string name, std::string says, Remedy remedy) {
  return {std::move(name), Grade::warn, std::move(says), Code::bug, std::move(remedy.run), std::move(remedy.who)};
}
Check bad(std::string name, Code code, std::string says, Remedy remedy) {
  return {std::move(name), Grade::fail, std::move(says), code, std::move(remedy.run), std::move(remedy.who)};
}

void add_doctor(CommandTable& table) {
  struct Words {
    Flags flags;
    bool json = false;
  };
  auto words = std::make_shared<Words>();
  auto* command = table.add("doctor", "Find out what is wrong, and what repairs it", kDoctorHelp,
                            [words] { return diagnose(words->flags, words->json); });
  command->add_option("MNT", words->flags.mount_point, "Where hffs is mounted, or is to be");
  add_json(command, words->json);
  command->add_option("--config", words->flags.config_file, "A configuration file (TOML)")->type_name("FILE");
  add_settings(command, words->flags);
}

}  // namespace hffs::cli
