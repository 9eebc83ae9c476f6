// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
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

// Where the log goes: its name, for people, and the name of what was opened. Empty: standard error.
struct LogFile {
  std::string path, opened;
  UniqueFd file;
};

// Made here, for the owner alone, so that a bad name is an error before anything starts.
Result<LogFile> prepare_log(const Config& config) {
  LogFile log{.path = config.log_file, .opened = config.log_file, .file = {}};
  if (log.path.empty() && config.foreground) return log;
  auto store = make_store_directory(config.state_dir);
  if (!store) return fail(store);
  if (log.path.empty()) log.path = *store + "/hffs.log";
  const bool in_store = log.path.starts_with(*store + '/');
  // What stands in the store a worker may have put there, who is not root as we may be: no link, and no other name of
  // somebody else's file. Nor is it looked for by its name again.
  const int careful = in_store ? O_NOFOLLOW | O_NONBLOCK : 0;
  log.file = UniqueFd(::open(log.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | careful, 0600));
  struct stat found {};
  if (!log.file || ::fstat(log.file.get(), &found) != 0)
    return fail(std::move(system_error(errno, log.path)).during("the log file cannot be written"));
  if (!in_store) return log;
  if (!S_ISREG(found.st_mode) || found.st_nlink != 1)
    return fail(Code::refused, "the log file cannot be written: {} is no file, or has another name", log.path);
  log.opened = fmt::format("/proc/self/fd/{}", log.file.get());
  return log;
}

// The program and what it was told, as they are for the worker; with the mount point as it is found before anything is
// mounted there.
Result<std::vector<std::string>> own_words(const std::string& mount_point, const WorkerUser& user) {
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
  words.insert(command + 1, {"--worker-of", mount_point, "--worker-user", user.text()});
  return words;
}

Result<void> keep(const Config& config, const LogFile& log_file, UniqueFd directory,
                  Parent* parent) {
  start_log(config.log_level, log_file.opened);
  keep_tokens_inside();
  const auto user = prepare_worker_user(config);
  if (!user) return fail(Error(user.error()));
  std::error_code error;
  const auto mount_point = std::filesystem::weakly_canonical(config.mount_point, error);
  auto words = own_words(error ? config.mount_point : mount_point.string(), *user);
  if (!words) return fail(words);
  auto store = make_store_directory(config.state_dir);
  if (!store) return fail(store);
  std::optional<PageSocket> page;
  if (!config.status_page.empty()) {
    auto listening = PageSocket::listen(config.status_page);
    if (!listening) return fail(std::move(listening.error()).during("the status page"));
    page.emplace(std::move(*listening));
    words->insert(std::ranges::find(*words, "--worker-of"),
                  {"--page-socket", std::to_string(page->get()), "--page-address", config.status_page});
  }
  return run_keeper({.mount = {.mount_point = config.mount_point,
                               .source = config.source,
                               .allow_other = config.allow_other,
                               .blobs = *store + "/blobs",
                               .owner = user->uid},
                     .worker = std::move(*words),
                     .directory = std::move(directory),
                     .inherited = page ? page->get() : -1,
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
  config->log_file = log_file->path;
  // An older keeper names nobody: what lies in the store is its own.
  auto user = flags.worker_user ? WorkerUser::parse(*flags.worker_user)
                                : Result<WorkerUser>(WorkerUser{config->user, config->group});
  if (!user) return fail(user);
  // By the rights that are there now: its directory may be root's.
  start_log(config->log_level, log_file->opened);
  keep_tokens_inside();
  const auto lacks = confine(*config, *user);
  if (!lacks) return fail(std::move(Error(lacks.error())).during("confining the daemon"));
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
  mount_->add_option("--worker-user", flags->worker_user)->group("");
  mount_->add_option("--page-socket", flags->page_socket)->group("");
  mount_->add_option("--page-address", flags->page_address)->group("");
  // Of mount.hffs: by what mount(8) finds the line of fstab again.
  mount_->add_option("--source", flags->source)->group("");
  add_settings(mount_, *flags);
}

}  // namespace hffs::cli
