// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "background.h"
#include "commands.h"

namespace hffs::cli {
namespace {

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

Result<void> serve(Config config, const std::string& log_file, Parent* parent) {
  const std::string mount_point = config.mount_point;
  start_log(config.log_level, log_file);
  auto daemon = Daemon::start(std::move(config));
  if (!daemon) {
    // On a terminal main() says it; twice would be once too often.
    if (!log_file.empty())
      log(Level::error, "daemon", "not started: {}", daemon.error().message);
    return fail(daemon);
  }
  if (parent != nullptr)
    parent->tell({});
  else
    fmt::print(stderr, "hffs: mounted at {}\n", mount_point);
  auto ended = (*daemon)->run();
  if (!ended) log(Level::error, "daemon", "ended: {}", ended.error().message);
  daemon->reset();
  log(Level::info, "daemon", "ended");
  return ended;
}

}  // namespace

Result<void> mount(const Flags& flags) {
  auto config = load_config(flags, process_environment());
  if (!config) return fail(config);
  const auto log_file = prepare_log(*config);
  if (!log_file) return fail(Error(log_file.error()));
  if (config->foreground) return serve(std::move(*config), *log_file, nullptr);

  auto forked = go_background();
  if (!forked) return fail(forked);
  if (!forked->parent) return std::move(forked->outcome);
  auto served = serve(std::move(*config), *log_file, &*forked->parent);
  // Nobody hears this any more if the daemon was ready once.
  if (!served) forked->parent->tell(served);
  return served;
}

}  // namespace hffs::cli
