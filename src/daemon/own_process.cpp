// SPDX-License-Identifier: Apache-2.0
#include "own_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "control_server.h"
#include "hffs/daemon.h"
#include "hffs/hub.h"
#include "origin.h"
#include "sandbox.h"

namespace hffs {
namespace {

const std::string kResolver = "/etc/resolv.conf";

}  // namespace

std::string store_directory(const std::string& state_dir) {
  return state_dir + "/hffs-v1";
}

Handover::Index index_of(const std::string& state_dir) {
  struct stat found {};
  const std::string path = store_directory(state_dir) + "/index/data.mdb";
  if (::stat(path.c_str(), &found) != 0) return {};
  return {.device = found.st_dev, .inode = found.st_ino};
}

Result<std::string> make_store_directory(const std::string& state_dir) {
  const std::string path = store_directory(state_dir);
  for (std::size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1))
    if (auto made = system_disk().make_directory(path.substr(0, slash), 0755); !made)
      return fail(std::move(made.error()).during("the state directory"));
  // Others may pass through to the control socket, and see nothing else.
  if (auto made = system_disk().make_directory(path, 0711); !made)
    return fail(std::move(made.error()).during("the state directory"));
  return path;
}

std::string control_socket(const std::string& state_dir) {
  return fmt::format("{}/{}", store_directory(state_dir), kControlSocketName);
}

Result<std::string> confine(const Config& config, const WorkerUser& user) {
  auto store = make_store_directory(config.state_dir);
  if (!store) return fail(store);
  Sandbox sandbox{.user = user, .writable = {*store, "/dev/null"}};
  if (!config.log_file.empty()) sandbox.writable.push_back(config.log_file);
  sandbox.local = {config.state_dir};  // what lies beside the store is looked at
  sandbox.readable = folders_of(config);
  for (const auto* each : {&kResolver, &config.ca_bundle})
    if (!each->empty()) sandbox.readable.push_back(*each);
  for (std::string& bundle : system_ca_bundles()) sandbox.readable.push_back(std::move(bundle));
  // It is written anew where it really lies, which may be anywhere.
  std::error_code error;
  const auto resolver = std::filesystem::canonical(kResolver, error).parent_path();
  if (!error && resolver != "/") sandbox.readable.push_back(resolver);
  auto lacks = enter_sandbox(sandbox);
  // Each connection reads it.
  if (lacks && !config.ca_bundle.empty() && !UniqueFd(::open(config.ca_bundle.c_str(), O_RDONLY | O_CLOEXEC)))
    return fail(system_error(errno, fmt::format("the CA bundle {} cannot be read by user {}, whom hffs runs as", config.ca_bundle, ::geteuid())));
  return lacks;
}

std::vector<std::string> files_of_each_connection(const Config& config) {
  std::vector<std::string> files{kResolver};
  if (!config.ca_bundle.empty()) files.push_back(config.ca_bundle);
  return files;
}

// The limit is for what is started with it: execve() makes that dumpable again until it comes here.
void keep_tokens_inside() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    log(Level::warn, "daemon", "{}", system_error(errno, "raising the limit of open files").message);
}

}  // namespace hffs
