// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "login.h"
#include "unknown_command.h"
#include "version_words.h"

namespace {

using namespace hffs;

constexpr const char* kDescription =
    "hffs shows the whole Hugging Face Hub as one cache directory: nothing is downloaded before it "
    "is read, and what was read is kept and shared.";

constexpr const char* kExamples = R"(Examples:
  mkdir -p ~/hf && hffs mount ~/hf         mount the Hub for yourself, without root
  HF_HUB_CACHE=~/hf python train.py        use it: everything "is already downloaded"
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

`hffs COMMAND --help` says more about a command.)";

constexpr const char* kMountHelp = R"(Examples:
  hffs mount ~/hf
  hffs mount ~/hf --endpoint https://hf-mirror.example --endpoint https://huggingface.co
  hffs mount ~/hf --endpoint file:///nfs/hf --endpoint https://huggingface.co
                                           what lies on NFS comes from there
  hffs mount ~/hf --offline                only what is here; no request is sent
  hffs mount ~/hf --max-size 500G          what was open longest ago makes room
  hffs mount ~/hf --foreground --log-level debug

Settings may also stand in the environment (HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
HFFS_STATE_DIR, HFFS_LOG; HTTPS_PROXY and its kin) and in a file: /etc/hffs/config.toml for root,
~/.config/hffs/config.toml else. A flag wins over the environment, that over the file.)";

constexpr const char* kUmountHelp = R"(Waits until the daemon has written everything down and gone.

Examples:
  hffs umount ~/hf
  hffs umount ~/hf --lazy                  though files are open)";

constexpr const char* kStatusHelp = R"(Examples:
  hffs status                              the daemon of the default state directory
  hffs status ~/hf                         the daemon that serves ~/hf
  hffs status --json | jq .store.bytes)";

constexpr const char* kConfigHelp = R"(Flags and environment count as they would for `hffs mount`. Secrets are not printed.

Examples:
  hffs config check                        what `hffs mount` would use here
  hffs config check new.toml && mv new.toml /etc/hffs/config.toml && kill -USR1 PID)";

constexpr const char* kImportHelp = R"(What has the right hash joins the store, by reflink or copy; the source stays as it is. Where the
Hub cannot be asked what a repository holds, the folder is believed, and marked so until the Hub
has confirmed it. What was imported already is skipped: run it again to go on.

Examples:
  hffs import ~/.cache/huggingface/hub     all of a cache
  hffs import /media/disk/models--openai--whisper-tiny
  hffs import ~/whisper --repo openai/whisper-tiny
  hffs import /media/disk/hub --json | jq .skipped

Exit codes: 10 if a file had wrong bytes, 12 if one could not be read; the others were taken.)";

constexpr const char* kExportHelp = R"(Fetches what is missing. The folder needs no hffs: it can be a HF_HUB_CACHE elsewhere, or be taken
in with `hffs import`. Run it again to go on where it stopped.

Examples:
  hffs export openai/whisper-tiny /media/disk/hub
  hffs export openai/whisper-tiny@main /media/disk/hub --exclude '*.bin' --exclude '*.msgpack'
  hffs export openai/whisper-tiny ~/whisper --flat --include '*.safetensors' --include '*.json')";

constexpr const char* kPathHelp = R"(Examples:
  llama.cpp -m "$(hffs path ggml-org/gemma-3-4b-it-GGUF)/gemma-3-4b-it-Q4_K_M.gguf"
  hffs path openai/whisper-tiny@main
  hffs path datasets/rajpurkar/squad --mount ~/hf)";

constexpr const char* kCollectHelp = R"(Without REPO: what was open longest ago goes, until the limits (--max-size, --min-free of `hffs
mount`) hold; the daemon does so by itself when it needs room. With REPO: all of it goes, but what
is open or pinned. What went is fetched again when it is read again; what was imported and cannot be
fetched, since no Hub has confirmed it, stays unless --imported is given.

Examples:
  hffs gc --dry-run                        what would go
  hffs gc openai/whisper-large-v3          room by hand
  hffs gc --unreferenced                   what no branch, tag or pull request has any more)";

constexpr const char* kPinHelp = R"(What is pinned is never evicted; it need not be here yet. A revision is pinned as the commit that
it names now. `hffs pins` lists them, `hffs unpin REPO[@REVISION]` ends it.

Examples:
  hffs pin DeepFloyd/t5-v1_1-xxl
  hffs pin datasets/rajpurkar/squad@main
  hffs pin openai/whisper-tiny@169d4a4 --ref main    refs/main stays there, for you
  hffs unpin openai/whisper-tiny --ref main)";

constexpr const char* kUnpinHelp = R"(Without @REVISION all pins of the repository end.

Examples:
  hffs unpin DeepFloyd/t5-v1_1-xxl)";

constexpr const char* kVerifyHelp = R"(Reads whatever is here whole, and hashes it again. What is damaged is put aside, and fetched again
when it is read; programs that have it open may go on with what they have. The daemon does so by
itself, slowly: see `scrub` in the configuration file.

Examples:
  hffs verify                              all that is here
  hffs verify openai/whisper-tiny
  hffs verify openai/whisper-tiny@main --json | jq .findings

Exit codes: 10 if a file was damaged, 12 if one could not be read.)";

// What was read from the command line, and the command to run with it.
struct Words {
  Flags mount;
  cli::ImportArguments import;
  cli::ExportArguments export_;
  cli::UmountArguments umount;
  cli::StatusArguments status;
  cli::PathArguments path;
  cli::CollectArguments collect;
  cli::PinArguments pin;
  cli::PinsArguments pins;
  cli::VerifyArguments verify;
  cli::VersionWords versions;
  cli::LoginArguments login;
  bool allow_other = false, offline = false, offline_partial = false, config_json = false;
};

// What a mount may be told, and what `hffs config check` may be asked about.
void add_settings(CLI::App* mount, Words& words) {
  Flags& flags = words.mount;
  mount
      ->add_option("--state-dir", flags.state_dir,
                   "Where content and index are kept [/var/lib/hffs for root, ~/.cache/hffs else]")
      ->type_name("DIR");
  mount->add_option("--endpoint", flags.endpoints,
                   "The Hub, a mirror, or a folder of models (file:///PATH); may be repeated")
      ->type_name("URL")
      ->allow_extra_args(false);
  mount->add_flag("--allow-other", words.allow_other, "Let other users in");
  mount->add_flag("--offline", words.offline, "Send no request; show what is known");
  mount->add_flag("--offline-partial", words.offline_partial,
                  "Offline, open files that are not wholly here, too");
  mount->add_option("--log-level", flags.log_level, "debug, info, warn or error [info]")
      ->type_name("LEVEL");
  mount
      ->add_option("--log-file", flags.log_file,
                   "[the state directory's hffs-v1/hffs.log; standard error in the foreground]")
      ->type_name("FILE");
  mount
      ->add_option("--prefetch", flags.prefetch,
                   "What is fetched before it is read: off, adaptive, file (all of one that is read) "
                   "or snapshot [adaptive]")
      ->type_name("POLICY");
  mount
      ->add_option("--max-size", flags.max_size,
                   "How much content may be kept: 500G, 2T; what was open longest ago goes [no limit]")
      ->type_name("SIZE");
  mount
      ->add_option("--min-free", flags.min_free,
                   "What stays free on the disk [the larger of 10 % and 20G, at most half of what could "
                   "be had]")
      ->type_name("SIZE");
  mount
      ->add_option("--verify", flags.verify,
                   "When a file's bytes are served: complete (as they come; hashed when it is whole) or "
                   "strict (only once all of it was verified) [complete]")
      ->type_name("WHEN");
  mount->add_option("--ref-ttl", flags.ref_ttl, "How old a branch's commit may be [60]")
      ->type_name("SECONDS");
  mount
      ->add_option("--read-deadline", flags.read_deadline,
                   "How long a reader waits for missing bytes before it gets EIO [900]")
      ->type_name("SECONDS");
}

void add_mount(CLI::App& app, Words& words) {
  auto* mount = app.add_subcommand("mount", "Mount the Hub on a directory");
  mount->footer(kMountHelp);
  Flags& flags = words.mount;
  mount->add_option("MNT", flags.mount_point, "An empty directory")->required();
  mount->add_option("--config", flags.config_file, "A configuration file (TOML)")
      ->type_name("FILE");
  mount->add_flag("--foreground,-f", flags.foreground, "Stay in the foreground");
  // Of a keeper to its worker; an empty group is shown nowhere.
  mount->add_option("--worker-of", flags.worker_of)->group("");
  // Of mount.hffs: by what mount(8) finds the line of fstab again.
  mount->add_option("--source", flags.source)->group("");
  add_settings(mount, words);
}

void add_config(CLI::App& app, Words& words) {
  auto* config = app.add_subcommand("config", "Look at the settings");
  config->require_subcommand(1);
  auto* check = config->add_subcommand("check", "Say what a mount would use, and from where; or what is wrong");
  check->footer(kConfigHelp);
  check->add_option("FILE", words.mount.config_file, "A configuration file [the one that a mount would read]");
  check->add_flag("--json", words.config_json, "For programs");
  add_settings(check, words);
}

void add_carrying(CLI::App& app, Words& words) {
  cli::ImportArguments& in = words.import;
  auto* import = app.add_subcommand("import", "Take in models that lie in a folder");
  import->footer(kImportHelp);
  import->add_option("PATH", in.path, "A Hugging Face cache, or a plain folder of a model")
      ->required();
  import->add_option("--repo", in.repo, "PATH is a plain folder: of this repository")
      ->type_name("ORG/NAME");
  import->add_option("--revision", in.revision, "Its branch, tag or commit [main]")
      ->type_name("REV")
      ->needs("--repo");
  import->add_flag("--json", in.json, "For programs");
  cli::add_state_dir(import, in.flags);
  import->add_option("--endpoint", in.flags.endpoints, "Where no daemon runs: the Hub or a mirror")
      ->type_name("URL")
      ->allow_extra_args(false);
  import->add_flag("--offline", words.offline, "Where no daemon runs: send no request");

  cli::ExportArguments& out = words.export_;
  auto* export_ = app.add_subcommand("export", "Write a model into an ordinary cache folder");
  export_->footer(kExportHelp);
  export_->add_option("REPO", out.what.repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION")
      ->required();
  export_->add_option("DIR", out.directory, "The cache that is written, or added to")->required();
  export_->add_flag("--flat", out.flat, "Just the files, below DIR");
  export_->add_option("--include", out.include, "Only files like this; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  export_->add_option("--exclude", out.exclude, "No files like this; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  export_->add_flag("--json", out.json, "For programs");
  export_->add_option("--mount", out.what.mount_point, "Where hffs is mounted")->type_name("MNT");
  cli::add_state_dir(export_, out.what.flags);
}

void add_others(CLI::App& app, Words& words) {
  auto* umount = app.add_subcommand("umount", "End a mount, and its daemon");
  umount->footer(kUmountHelp);
  umount->add_option("MNT", words.umount.mount_point, "Where hffs is mounted")->required();
  umount->add_flag("--lazy,-z", words.umount.lazy, "Detach now, though files are open");

  auto* status = app.add_subcommand("status", "Say how a daemon is");
  status->footer(kStatusHelp);
  status->add_option("MNT", words.status.mount_point, "Where hffs is mounted");
  status->add_flag("--json", words.status.json, "For programs");
  cli::add_state_dir(status, words.status.flags);

  auto* path = app.add_subcommand("path", "Print the directory of a repository's files");
  path->footer(kPathHelp);
  path->add_option("REPO", words.path.repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION")
      ->required();
  path->add_option("--mount", words.path.mount_point, "Where hffs is mounted")->type_name("MNT");
  cli::add_state_dir(path, words.path.flags);

  add_carrying(app, words);
  app.add_subcommand("version", "Print the version");
}

void add_storage(CLI::App& app, Words& words) {
  auto* collect = app.add_subcommand("gc", "Make room: evict content that can be fetched again");
  collect->footer(kCollectHelp);
  collect->add_option("REPO", words.collect.repo, "ORG/NAME or datasets/ORG/NAME: all of it");
  collect->add_flag("--unreferenced", words.collect.unreferenced,
                    "All that is in no commit of a branch, tag or pull request");
  collect->add_flag("--imported", words.collect.imported,
                    "Of what is named, also the only copies: they are lost");
  collect->add_flag("--dry-run,-n", words.collect.dry_run, "Only say what would go");
  collect->add_flag("--json", words.collect.json, "For programs");
  cli::add_daemon(collect, words.collect.where);

  auto* verify = app.add_subcommand("verify", "Hash again what is here, and put aside what is damaged");
  verify->footer(kVerifyHelp);
  verify->add_option("REPO", words.verify.repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION; all");
  verify->add_flag("--json", words.verify.json, "For programs");
  cli::add_state_dir(verify, words.verify.flags);

  auto* pin = app.add_subcommand("pin", "Never evict a repository, or a revision of it");
  pin->footer(kPinHelp);
  auto* unpin = app.add_subcommand("unpin", "Let it be evicted again");
  unpin->footer(kUnpinHelp);
  for (auto* command : {pin, unpin}) {
    command->add_option("REPO", words.pin.repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION")
        ->required();
    command
        ->add_option("--ref", words.pin.ref,
                     "What this branch or tag reads in the mount: REPO's revision, for you")
        ->type_name("REF");
    command->add_flag("--all", words.pin.all, "With --ref: for everybody")->needs("--ref");
    cli::add_daemon(command, words.pin.where);
  }
  auto* pins = app.add_subcommand("pins", "List what is pinned");
  pins->add_flag("--json", words.pins.json, "For programs");
  cli::add_daemon(pins, words.pins.where);
}

Result<void> run_other(const std::string& command, Words& words) {
  if (words.allow_other) words.mount.allow_other = true;
  if (words.offline) words.mount.offline = words.import.flags.offline = true;
  if (words.offline_partial) words.mount.offline_partial = true;
  if (command == "mount") return cli::mount(words.mount);
  if (command == "config") return cli::check_config({.json = words.config_json, .flags = words.mount});
  if (command == "umount") return cli::umount(words.umount);
  if (command == "status") return cli::status(words.status);
  if (command == "path") return cli::path(words.path);
  if (command == "import") return cli::import_folder(words.import);
  if (command == "export") return cli::export_repo(words.export_);
  if (command == "gc") return cli::collect(words.collect);
  if (command == "verify") return cli::verify(words.verify);
  if (command == "pin") return cli::pin(words.pin);
  if (command == "unpin") return cli::unpin(words.pin);
  if (command == "pins") return cli::pins(words.pins);
  fmt::print("hffs {}\n", HFFS_VERSION);
  return {};
}

Result<int> run(const CLI::App& app, Words& words) {
  const std::string command = app.get_subcommands().front()->get_name();
  if (auto done = cli::run_version_command(command, words.versions)) return std::move(*done);
  if (auto done = cli::run_login_command(command, words.login)) return std::move(*done);
  if (auto done = run_other(command, words); !done) return fail(done);
  return 0;
}

Result<int> parse_and_run(int argc, char** argv) {
  CLI::App app(kDescription, "hffs");
  app.footer(kExamples);
  app.set_version_flag("--version", fmt::format("hffs {}", HFFS_VERSION));
  app.require_subcommand(1);
  Words words;
  add_mount(app, words);
  add_config(app, words);
  add_others(app, words);
  add_storage(app, words);
  cli::add_version_commands(app, words.versions);
  cli::add_login_commands(app, words.login);
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
  return run(app, words);
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
    fmt::print(stderr, "hffs: {}\n", done.error().message);
    return info(done.error().code).exit_code;
  } catch (const std::exception& problem) {
    fmt::print(stderr, "hffs: {}; please report this\n", problem.what());
    return info(Code::bug).exit_code;
  }
}
