// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>

#include "child.h"
#include "client_variables.h"
#include "command_table.h"
#include "commands.h"
#include "watch.h"

namespace hffs::cli {
namespace {

constexpr const char* kRunHelp = R"(Sets what `hffs env` prints, for this command alone; the exit code is the command's. While it waits for
bytes a line on standard error says for which, how fast they come, and what holds them up. When it fails, what
the mount refused to it is told.

Examples:
  hffs run -- python train.py
  hffs run --offline-clients -- vllm serve openai/whisper-tiny)";

struct RunArguments {
  bool offline_clients = false, progress = false;
  std::vector<std::string> command;
  DaemonName where;
};

Result<int> run_with_mount(const RunArguments& words) {
  const auto mount_point = find_mount(words.where);
  if (!mount_point) return fail(Error(mount_point.error()));
  const auto findings = find_variables(process_environment(), *mount_point);
  print_findings(findings);
  // The descendants of who has gone are looked at, too.
  if (auto reaper = become_reaper(); !reaper) return fail(reaper);
  Watch watch(words.where, words.progress || ::isatty(STDERR_FILENO) == 1);
  for (const VariableFinding& each : findings) ::unsetenv(each.name.c_str());
  for (const auto& [name, value] : client_variables(*mount_point, words.offline_clients))
    ::setenv(name.c_str(), value.c_str(), 1);
  auto code = run_child(words.command, {.look = [&](pid_t child) { watch.look(child); }});
  if (code && *code != 0) watch.print_failures();
  return code;
}

}  // namespace

void add_run(CommandTable& table) {
  auto words = std::make_shared<RunArguments>();
  auto* command = table.add("run", "Run a command that uses the mount", kRunHelp, [words] { return run_with_mount(*words); });
  command->add_flag("--offline-clients", words->offline_clients, "It sends no request itself: HF_HUB_OFFLINE=1");
  command->add_flag("--progress", words->progress, "Say what it waits for though standard error is no terminal");
  command->add_option("COMMAND", words->command, "Behind --")->required();
  command->positionals_at_end();
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
