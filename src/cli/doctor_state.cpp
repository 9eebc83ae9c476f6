// SPDX-License-Identifier: Apache-2.0
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>

#include "doctor.h"
#include "hffs/posix.h"
#include "hffs/state_check.h"
#include "progress.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

// Below it a model does not even begin to fit, whatever is to stay free.
constexpr std::uint64_t kLittle = std::uint64_t{1} << 30;

std::string nearest_there(std::string path) {
  while (path.size() > 1 && !exists(path)) path.resize(std::max<std::size_t>(path.rfind('/'), 1));
  return path;
}

Remedy make_writable(const std::string& state_dir) {
  const std::string there = nearest_there(state_dir);
  struct stat found{};
  if (::stat(there.c_str(), &found) != 0) return {.run = {}, .who = "root looks at it"};
  if (there != state_dir)
    return {.run = as_root(fmt::format("install -d -m 711 -o {} -g {} {}", ::geteuid(), ::getegid(), shell_word(state_dir))), .who = {}};
  if (found.st_uid == ::geteuid()) return {.run = fmt::format("chmod u+rwx {}", shell_word(state_dir)), .who = {}};
  return {.run = as_root(fmt::format("chown -R {}:{} {}", ::geteuid(), ::getegid(), shell_word(state_dir))), .who = {}};
}

Check check_directory(const Patient& patient, const std::string& state_dir) {
  // A daemon that runs has taken it; and it is its user's, not ours.
  const auto usable = patient.status ? Result<void>() : check_state_dir(state_dir);
  if (!usable) {
    const Error& error = usable.error();
    Remedy remedy{.run = {}, .who = "who mounts names another one (--state-dir), on a disk of this machine"};
    if (error.code == Code::denied) remedy = make_writable(state_dir);
    if (error.code == Code::unsupported && error.message.find("newer") != std::string::npos)
      remedy.who = "root installs the newer hffs; or who mounts names another --state-dir";
    return bad("state", error.code, error.message, remedy);
  }
  struct statfs system{};
  if (::statfs(nearest_there(state_dir).c_str(), &system) == 0) {
    Remedy remedy{.run = {}, .who = "who mounts names a --state-dir on a disk"};
    if (system.f_type == TMPFS_MAGIC)
      return doubtful("state", fmt::format("{} lies in memory: it is gone after a restart of this machine", state_dir), remedy);
    if (system.f_type == OVERLAYFS_SUPER_MAGIC)
      return doubtful("state", fmt::format("{} lies on an overlay, as in a container: it goes with that, and the kernel does not "
                                           "read its files by itself", state_dir), remedy);
  }
  return good("state", patient.status ? fmt::format("{}, in use by the daemon", state_dir) : state_dir);
}

Check check_room(const Patient& patient, const std::string& state_dir) {
  const std::string others = fmt::format("who has files on the disk of {} removes some; or who mounts names a smaller --min-free", state_dir);
  if (patient.status) {
    const auto& store = patient.status->at("store");
    const auto free = store.at("free_bytes").get<std::uint64_t>(), kept = store.at("min_free").get<std::uint64_t>();
    const std::string says = fmt::format("{} free, {} of it stay so", bytes_text(free), bytes_text(std::min(free, kept)));
    if (free > kept && free >= kLittle / 64) return good("room", says);
    return doubtful("room", says + ": what is fetched is served, and not kept", {.run = {}, .who = others});
  }
  struct statfs system{};
  if (::statfs(nearest_there(state_dir).c_str(), &system) != 0) return good("room", "it cannot be told");
  const std::uint64_t free = system.f_bavail * static_cast<std::uint64_t>(system.f_bsize);
  const std::uint64_t kept = patient.config ? patient.config->limits.min_free.value_or(0) : 0;
  const std::string says = fmt::format("{} free", bytes_text(free));
  if (free > kept && free >= kLittle) return good("room", says);
  return doubtful("room", says + (free > kept ? "" : fmt::format(", and {} are to stay so", bytes_text(kept))), {.run = {}, .who = others});
}

}  // namespace

Checks check_state(const Patient& patient) {
  if (!patient.status && !patient.config) return {};  // what is wrong with the settings comes last
  const std::string state_dir =
      patient.status ? patient.status->at("state_dir").get<std::string>() : patient.config->state_dir;
  Checks checks{check_directory(patient, state_dir)};
  if (checks.front().grade != Grade::fail) checks.push_back(check_room(patient, state_dir));
  if (patient.status)
    for (const auto& damage : patient.status->at("store").at("damages"))
      checks.push_back(doubtful("damage", damage.get<std::string>(),
                                {.run = {}, .who = "whose mount it is looks at what was put aside, and removes it"}));
  return checks;
}

}  // namespace hffs::cli
