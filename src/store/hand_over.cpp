// SPDX-License-Identifier: Apache-2.0
#include "hffs/hand_over.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "hffs/posix.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

struct HandOver {
  uid_t to;
  gid_t group;
  dev_t device;  // what is mounted there is another's
  std::uint64_t given = 0;

  Result<void> below(int directory, const std::string& path);
  Result<void> one(int directory, const std::string& name, const std::string& path);
};

Result<void> HandOver::one(int directory, const std::string& name, const std::string& path) {
  struct stat found {};
  if (::fstatat(directory, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) return fail(system_error(errno, path));
  if (found.st_dev != device || (!S_ISDIR(found.st_mode) && found.st_nlink != 1)) {
    log(Level::warn, "store", "{} stays user {}'s: it has a name elsewhere, or is another file system", path, found.st_uid);
    return {};
  }
  if (S_ISDIR(found.st_mode)) {
    const UniqueFd inside(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inside) return fail(system_error(errno, path));
    if (auto done = below(inside.get(), path); !done) return done;
  }
  if (found.st_uid == to && found.st_gid == group) return {};
  if (::fchownat(directory, name.c_str(), to, group, AT_SYMLINK_NOFOLLOW) != 0) return fail(system_error(errno, path));
  ++given;
  return {};
}

Result<void> HandOver::below(int directory, const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> items(::fdopendir(::fcntl(directory, F_DUPFD_CLOEXEC, 0)), &::closedir);
  if (!items) return fail(system_error(errno, path));
  errno = 0;
  while (const dirent* item = ::readdir(items.get())) {
    const std::string name = item->d_name;
    if (name != "." && name != "..")
      if (auto done = one(directory, name, path + '/' + name); !done) return done;
    errno = 0;
  }
  return errno == 0 ? Result<void>{} : fail(system_error(errno, path));
}

}  // namespace

Result<void> hand_over_store(const std::string& state_dir, uid_t from, uid_t to, gid_t group) {
  const std::string path = state_dir + "/hffs-v1";
  const UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat found {};
  if (!root || ::fstat(root.get(), &found) != 0) return fail(system_error(errno, path));
  if (found.st_uid != from || from == to) return {};
  const UniqueFd lock(::openat(root.get(), "LOCK", O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!lock && errno != ENOENT) return fail(system_error(errno, path + "/LOCK"));
  if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::busy, "the store {} is in use, and cannot be handed over to user {}", path, to);
  HandOver over{.to = to, .group = group, .device = found.st_dev};
  auto done = over.below(root.get(), path);
  // The last: who finds it handed over looks no further.
  if (done && ::fchown(root.get(), to, group) != 0) done = fail(system_error(errno, path));
  if (!done)
    return fail(std::move(done.error()).during(fmt::format("handing the store over to user {}", to)));
  log(Level::info, "store", "{} was user {}'s and is user {}'s now, with {} files and directories", path, from, to, over.given);
  return {};
}

}  // namespace hffs
