// SPDX-License-Identifier: Apache-2.0
#include "version_words.h"

namespace hffs::cli {
namespace {

constexpr const char* kListHelp = R"(For each commit: how much of its content is here, and when a file of it was open last. --outdated asks
the Hub for each ref, and says what a new commit would have to fetch; it changes nothing.

Examples:
  hffs ls
  hffs ls openai/whisper-tiny --json
  hffs ls --outdated)";

constexpr const char* kLockHelp = R"(Runs a command, and writes down the files of the mount that it and its descendants opened: repository,
commit, path, size and hash. The exit code is the command's. `hffs check` compares later.

Not seen: files that were open before, and what a server reads that runs already. Of the same content
under several names, or in commits whose refs were not read, the likeliest is told.

Examples:
  hffs lock -- python train.py
  hffs lock -o eval.lock -- accelerate launch eval.py)";

constexpr const char* kCheckHelp = R"(Compares a lock file with what is so now, file by file: whether refs still mean the commits, whether
the commits have the same files, and whether their bytes are here. Bytes were checked against their hash
when they came.

Examples:
  hffs check models.lock
  hffs check models.lock --fetch           and fetch what is missing
  hffs check models.lock --offline         send no request

Exit codes: 10 if a hash differs, 3 if a ref, commit or file is gone, 12 if bytes are missing, 17 if a ref
has moved, 7 if the Hub could not be asked; the first of these that is so.)";

constexpr const char* kAdoptHelp = R"(Makes the caches that users have each filled views of the mount: imports and checks each repository,
then puts a link to the mount in its place. One run as root does all users. The originals stay beside the
links until --finish; until then --undo puts them back. Left as they are, with the reason: folders that are
in use, that hold wrong bytes, partial downloads or broken links, and what the Hub does not list. May be
killed at any moment, and run again.

Whatever is adopted can be read by everybody who sees the mount: that is why only what the Hub lists for
the daemon is, without --self-attested. Give the daemon no token that its users may not all use.

Examples:
  sudo hffs adopt --dry-run                what there is, and how much of it twice
  sudo hffs adopt                          the caches of all users in the password database
  sudo hffs adopt --home-root /home        of all homes there
  sudo hffs adopt /data/alice/hf           a HF_HOME, a HF_HUB_CACHE, or a home
  sudo hffs adopt --undo /home/alice       everything back, below a directory
  sudo hffs adopt --finish                 remove the originals)";

void add_adopt(CLI::App& app, AdoptArguments& words) {
  auto* adopt = app.add_subcommand("adopt", "Turn the caches of a server's users into views of the mount");
  adopt->footer(kAdoptHelp);
  adopt->add_option("DIR", words.directories, "Caches, or what holds them [those of all users]");
  adopt->add_option("--home-root", words.home_root, "Where homes are: /home")->type_name("DIR");
  auto* dry_run = adopt->add_flag("--dry-run,-n", words.dry_run, "Only say what there is");
  auto* undo = adopt->add_flag("--undo", words.undo, "Put the originals back")->excludes(dry_run);
  adopt->add_flag("--finish", words.finish, "Remove the originals")->excludes(dry_run)->excludes(undo);
  adopt->add_flag("--self-attested", words.self_attested,
                  "Adopt also what the Hub does not list: everybody will see it");
  adopt->add_flag("--json", words.json, "For programs");
  add_state_dir(adopt, words.flags);
}

}  // namespace

void add_state_dir(CLI::App* command, Flags& flags) {
  command->add_option("--state-dir", flags.state_dir, "The daemon's state directory")
      ->type_name("DIR");
}

void add_daemon(CLI::App* command, DaemonName& where) {
  command->add_option("--mount", where.mount_point, "Where hffs is mounted")->type_name("MNT");
  add_state_dir(command, where.flags);
}

void add_version_commands(CLI::App& app, VersionWords& words) {
  auto* list = app.add_subcommand("ls", "List the repositories and commits that are known here");
  list->footer(kListHelp);
  list->add_option("REPO", words.list.repo, "ORG/NAME or datasets/ORG/NAME: only this");
  list->add_flag("--outdated", words.list.outdated, "Only refs that have moved on the Hub");
  list->add_flag("--json", words.list.json, "For programs");
  add_daemon(list, words.list.where);

  auto* lock = app.add_subcommand("lock", "Run a command, and write down what it reads");
  lock->footer(kLockHelp);
  lock->add_option("-o,--output", words.lock.output, "The lock file, or - [models.lock]")
      ->type_name("FILE");
  lock->add_option("COMMAND", words.lock.command, "Behind --")->required();
  lock->positionals_at_end();
  add_daemon(lock, words.lock.where);

  auto* check = app.add_subcommand("check", "Compare a lock file with what is so now");
  check->footer(kCheckHelp);
  check->add_option("LOCK", words.check.lock, "What `hffs lock` has written")->required();
  auto* fetch = check->add_flag("--fetch", words.check.fetch, "Fetch what is missing");
  check->add_flag("--offline", words.check.offline, "Send no request")->excludes(fetch);
  check->add_flag("--json", words.check.json, "For programs");
  add_daemon(check, words.check.where);
  add_adopt(app, words.adopt);
}

std::optional<Result<int>> run_version_command(const std::string& command,
                                               const VersionWords& words) {
  const auto done = [](Result<void> result) -> Result<int> {
    if (!result) return fail(result);
    return 0;
  };
  if (command == "ls") return done(list(words.list));
  if (command == "lock") return lock(words.lock);
  if (command == "check") return done(check(words.check));
  if (command == "adopt") return done(adopt(words.adopt));
  return std::nullopt;
}

}  // namespace hffs::cli
