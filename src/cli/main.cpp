// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "command_table.h"
#include "commands.h"
#include "progress.h"
#include "suggestion.h"

namespace {

using namespace hffs;

constexpr const char* kDescription =
    "hffs shows the whole Hugging Face Hub as one cache directory: nothing is downloaded before it "
    "is read, and what was read is kept and shared.";

constexpr const char* kExamples = R"help(Examples:
  mkdir -p ~/hf && hffs mount ~/hf         mount the Hub for yourself, without root
  hffs run -- python train.py              use it: everything "is already downloaded"
  eval "$(hffs env)"                       or for all that is started from this shell
  hffs doctor                              find out what is wrong, and what repairs it
  ls ~/hf/models--openai--whisper-tiny/snapshots/main/
  hffs path openai/whisper-tiny            a plain path for tools that want one
  hffs status                              what is here, and is the Hub up?
  hffs import ~/.cache/huggingface/hub     take in what was downloaded before
  hffs export openai/whisper-tiny /media/disk/hub    and take a model along
  hffs verify                              is all of it still what it was?
  hffs pin openai/whisper-tiny             what must stay when room is made for others
  hffs ls --outdated                       what is here, and which branches have moved
  hffs lock -- python train.py             write down what a program reads; hffs check models.lock
  hffs umount ~/hf

  sudo hffs mount /mnt/hf --allow-other    one mount for all users of a server
  sudo hffs adopt --dry-run                and their caches made views of it

`hffs COMMAND --help` says more about a command.)help";

void add_commands(cli::CommandTable& table) {
  table.begin("A mount");
  cli::add_mount(table);
  cli::add_umount(table);
  cli::add_status(table);
  cli::add_top(table);
  cli::add_explain(table);
  cli::add_config(table);
  cli::add_env(table);
  cli::add_run(table);
  cli::add_doctor(table);
  table.begin("Models");
  cli::add_path(table);
  cli::add_prefetch(table);
  cli::add_ls(table);
  cli::add_lock(table);
  cli::add_check(table);
  table.begin("What is here");
  cli::add_storage(table);
  cli::add_verify(table);
  cli::add_import(table);
  cli::add_export(table);
  cli::add_adopt(table);
  table.begin("You");
  cli::add_login(table);
}

Result<int> parse_and_run(int argc, char** argv) {
  CLI::App app(kDescription, "hffs");
  app.footer(kExamples);
  app.set_version_flag("--version", fmt::format("hffs {}", HFFS_VERSION));
  app.require_subcommand(1);
  cli::CommandTable table(app);
  add_commands(table);
  table.begin("Else");
  cli::add_completion(table);
  table.add("version", "Print the version", "", []() -> Result<void> {
    fmt::print("hffs {}\n", HFFS_VERSION);
    return {};
  });
  table.begin("");
  cli::add_for_completion(table);
  if (argc < 2) {
    fmt::print("{}", app.help());
    return fail(Code::invalid, "a command is missing; see the list above");
  }
  const auto commands = app.get_subcommands(nullptr);
  const auto called = [&](const CLI::App* command) { return command->check_name(argv[1]); };
  if (argv[1][0] != '-' && std::none_of(commands.begin(), commands.end(), called))
    return cli::unknown_command(app, argv[1]);
  // The library's only way to tell.
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    app.exit(help);
    return 0;
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    return fail(Code::invalid, "{}; see hffs {}{}--help", error.what(),
                chosen.empty() ? "" : chosen.front()->get_name(), chosen.empty() ? "" : " ");
  }
  return table.run(app.get_subcommands().front()->get_name());
}

// A descriptor below 3 that is closed would be given to a file that messages then destroy.
void ensure_standard_descriptors() {
  int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::dup(fd);
  if (fd > STDERR_FILENO) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  ensure_standard_descriptors();
  try {
    const auto done = parse_and_run(argc, argv);
    if (done) return *done;
    fmt::print(stderr, "hffs: {}\n", cli::printable(done.error().message));
    return info(done.error().code).exit_code;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "hffs: {}; please report this\n", problem.what());
    return info(Code::bug).exit_code;
  }
}
