// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "hffs/daemon.h"
#include "hffs/hand_over.h"
#include "hffs/telemetry.h"
#include "own_process.h"

namespace hffs {
namespace {

constexpr const char* kName = "hffs";  // of the package's sysusers.conf

std::optional<WorkerUser> find_user() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16'384> buffer;
  if (::getpwnam_r(kName, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return {};
  if (found->pw_uid == 0) return {};
  return WorkerUser{found->pw_uid, found->pw_gid};
}

// To become it, to give it what is root's, and to end it.
bool has_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  for (const unsigned each : {CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_KILL})
    if ((sets[0].effective & (1u << each)) == 0) return false;
  return true;
}

// With its rights as the file system sees them, which are root's again when this returns.
bool can_reach(const WorkerUser& user, const std::string& path) {
  ::setfsgid(user.gid);
  ::setfsuid(user.uid);
  // In a user namespace there may be no such user.
  const bool became = ::setfsuid(static_cast<uid_t>(-1)) == static_cast<int>(user.uid);
  const UniqueFd place(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ::setfsuid(0);
  ::setfsgid(0);
  return became && place;
}

}  // namespace

Result<WorkerUser> prepare_worker_user(const Config& config) {
  if (auto store = make_store_directory(config.state_dir); !store) return fail(store);
  const WorkerUser own{::geteuid(), ::getegid()};
  if (own.uid != 0) return own;
  const auto found = find_user();
  if (!found) return own;
  std::string why;
  if (!has_capabilities())
    why = "root has not the capabilities for that here";
  else if (!can_reach(*found, config.state_dir))
    why = fmt::format("that user cannot get to {} (it needs o+rx, and each directory above it o+x)", config.state_dir);
  if (!why.empty()) log(Level::warn, "daemon", "the worker stays root, and does not become user {}: {}", kName, why);
  (void)adopt_journal(config.state_dir);
  const WorkerUser user = why.empty() ? *found : own;
  const uid_t before = why.empty() ? own.uid : found->uid;
  if (auto given = hand_over_store(config.state_dir, before, user.uid, user.gid); !given) return fail(given);
  return user;
}

std::string WorkerUser::text() const {
  return fmt::format("{}:{}", uid, gid);
}

Result<WorkerUser> WorkerUser::parse(std::string_view text) {
  WorkerUser user;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, user.uid);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto second = std::from_chars(first.ptr + 1, end, user.gid);
    if (second.ec == std::errc() && second.ptr == end) return user;
  }
  return fail(Code::invalid, "'{}' is not UID:GID", text);
}

Result<void> WorkerUser::become() const {
  if (uid == ::geteuid() && gid == ::getegid()) return {};
  if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0)
    return fail(system_error(errno, fmt::format("becoming user {}", text())));
  // The kernel has its own idea of it by now. What was root's a moment ago is in our memory.
  ::prctl(PR_SET_DUMPABLE, 0);
  return {};
}

// Before, it lay in the store, which a worker may change; what is not root's there is not believed.
std::string adopt_journal(const std::string& state_dir) {
  constexpr const char* kJournal = "/adopt.journal";
  const std::string path = state_dir + kJournal, before = store_directory(state_dir) + kJournal;
  struct stat found {};
  if (::lstat(before.c_str(), &found) == 0 && S_ISREG(found.st_mode) && found.st_nlink == 1 && found.st_uid == ::geteuid())
    (void)::renameat2(AT_FDCWD, before.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE);
  return path;
}

}  // namespace hffs
