// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "background.h"
#include "command_table.h"
#include "commands.h"
#include "hffs/keeper.h"

namespace hffs::cli {
namespace {

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


// Where the log goes. Made here, for the owner alone, so that a bad name is an error before
// anything starts.
Result<std::string> prepare_log(const Config& config) {
  std::string path = config.log_file;
  if (path.empty() && config.foreground) return path;
  if (path.empty()) {
    auto directory = make_store_directory(config.state_dir);
    if (!directory) return fail(directory);
    path = *directory + "/hffs.log";
  }
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file)
    return fail(std::move(system_error(errno, path)).during("the log file cannot be written"));
  return path;
}

// The program and what it was told, as they are for the worker; with the mount point as it is found before anything is
// mounted there.
Result<std::vector<std::string>> own_words(const std::string& mount_point) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(Code::io, "finding this program: {}", error.message());
  std::ifstream file("/proc/self/cmdline");
  std::vector<std::string> words{program.string()};
  std::string word;
  std::getline(file, word, '\0');
  while (std::getline(file, word, '\0')) words.push_back(word);
  const auto command = std::ranges::find(words, "mount");
  if (command == words.end()) return fail(Code::bug, "this is not `hffs mount`");
  words.insert(command + 1, {"--worker-of", mount_point});
  return words;
}

Result<void> keep(const Config& config, const std::string& log_file, UniqueFd directory,
                  Parent* parent) {
  start_log(config.log_level, log_file);
  keep_tokens_inside();
  std::error_code error;
  const auto mount_point = std::filesystem::weakly_canonical(config.mount_point, error);
  auto words = own_words(error ? config.mount_point : mount_point.string());
  if (!words) return fail(words);
  auto store = make_store_directory(config.state_dir);
  if (!store) return fail(store);
  return run_keeper({.mount = {.mount_point = config.mount_point,
                               .source = config.source,
                               .allow_other = config.allow_other,
                               .blobs = *store + "/blobs"},
                     .worker = std::move(*words),
                     .directory = std::move(directory),
                     .ready = [&] {
                       if (parent != nullptr)
                         parent->tell({});
                       else
                         fmt::print(stderr, "hffs: mounted at {}\n", config.mount_point);
                     },
                     // In the background we are no service, and the variable was somebody else's.
                     .service = parent == nullptr});
}

Result<void> serve(const Flags& flags, Keeper& keeper) {
  auto config = load_config(flags, process_environment());
  if (!config) return fail(config);
  const auto log_file = prepare_log(*config);
  if (!log_file) return fail(Error(log_file.error()));
  config->log_file = *log_file;
  keep_tokens_inside();
  const auto lacks = confine(*config);
  if (!lacks) return fail(std::move(Error(lacks.error())).during("confining the daemon"));
  start_log(config->log_level, *log_file);
  if (!lacks->empty()) log(Level::warn, "daemon", "this kernel does not confine the daemon by {}", *lacks);
  (void)!::chdir("/");
  auto daemon = Daemon::start(std::move(*config), keeper);
  if (!daemon) return fail(daemon);
  keeper.tell_ready();
  auto ended = (*daemon)->run();
  daemon->reset();
  log(Level::info, "daemon", "ended");
  return ended;
}

// The keeper says what went wrong.
[[noreturn]] void serve(const Flags& flags) {
  const auto keeper = connect_keeper(UniqueFd(kWorkerSocket));
  const auto ended = serve(flags, *keeper);
  if (!ended) keeper->tell_failed(ended.error());
  std::exit(ended ? 0 : info(ended.error().code).exit_code);
}

Result<void> mount(const Flags& flags) {
  if (flags.worker_of) serve(flags);
  auto config = load_config(flags, process_environment());
  if (!config) return fail(config);
  const auto log_file = prepare_log(*config);
  if (!log_file) return fail(Error(log_file.error()));

  UniqueFd directory(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (config->foreground) return keep(*config, *log_file, std::move(directory), nullptr);
  auto forked = go_background();
  if (!forked) return fail(forked);
  if (!forked->parent) return std::move(forked->outcome);
  auto kept = keep(*config, *log_file, std::move(directory), &*forked->parent);
  // Nobody hears this any more if the daemon was ready once.
  if (!kept) forked->parent->tell(kept);
  return kept;
}

}  // namespace

void add_mount(CommandTable& table) {
  auto flags = std::make_shared<Flags>();
  auto* mount_ = table.add("mount", "Mount the Hub on a directory", kMountHelp, [flags] { return mount(*flags); });
  mount_->add_option("MNT", flags->mount_point, "An empty directory")->required();
  mount_->add_option("--config", flags->config_file, "A configuration file (TOML)")->type_name("FILE");
  mount_->add_flag("--foreground,-f", flags->foreground, "Stay in the foreground");
  // Of a keeper to its worker; an empty group is shown nowhere.
  mount_->add_option("--worker-of", flags->worker_of)->group("");
  // Of mount.hffs: by what mount(8) finds the line of fstab again.
  mount_->add_option("--source", flags->source)->group("");
  add_settings(mount_, *flags);
}

}  // namespace hffs::cli
