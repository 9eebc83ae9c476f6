// SPDX-License-Identifier: Apache-2.0
#include "mount_point.h"

#include <dirent.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "hffs/keeper.h"
#include "mount_helper.h"
#include "mountinfo.h"

namespace hffs {
namespace {

// More dead mounts than this on one path are not ours to clean up.
constexpr int kMostDeadMounts = 16;

Error cannot_resolve(const std::string& path, Error error) {
  if (error.code == Code::not_found)
    return {
        Code::not_found,
        fmt::format("the mount point {} does not exist; make it first: mkdir -p {}", path, path),
        {}};
  return std::move(error).during("the mount point");
}

Result<void> check_empty(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (!directory) return fail(system_error(errno, fmt::format("the mount point {}", path)));
  while (const dirent* item = ::readdir(directory.get())) {
    const std::string_view name = item->d_name;
    if (name != "." && name != "..")
      return fail(Code::not_empty,
                  "the mount point {} is not empty (it holds {}); use an empty directory", path,
                  name);
  }
  return {};
}

Result<void> check_directory(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0)
    return fail(cannot_resolve(path, system_error(errno, path)));
  if (!S_ISDIR(found.st_mode))
    return fail(Code::not_directory, "the mount point {} is not a directory; use one that is",
                path);
  return check_empty(path);
}

// Whether the file system mounted there has lost its daemon.
bool is_dead(const std::string& path) {
  struct stat found{};
  return ::stat(path.c_str(), &found) != 0 && errno == ENOTCONN;
}

// Whether a dead mount of ours lies there; an error where nothing may be mounted.
Result<bool> look_at(const std::string& real) {
  const auto mounts = load_mounts();
  if (!mounts) return fail(Error(mounts.error()));
  const MountEntry* top = find_top_mount(*mounts, real);
  if (top == nullptr) {
    if (auto checked = check_directory(real); !checked) return fail(checked);
    return false;
  }
  if (top->type != kFileSystemType)
    return fail(Code::busy, "{} is mounted at {} already; use another directory, or unmount it", top->type, real);
  if (!is_dead(real))
    return fail(Code::busy,
                "an hffs is mounted at {} already; use another directory, or end that one with: "
                "hffs umount {}",
                real, real);
  return true;
}

uid_t read_user(std::string_view options) {
  constexpr std::string_view kKey = "user_id=";
  const std::size_t at = options.find(kKey);
  uid_t user = 0;
  if (at != options.npos) std::from_chars(options.data() + at + kKey.size(), options.data() + options.size(), user);
  return user;
}

}  // namespace

Result<std::vector<HffsMount>> list_mounts() {
  const auto mounts = load_mounts();
  if (!mounts) return fail(Error(mounts.error()));
  std::vector<HffsMount> found;
  for (const MountEntry& each : *mounts)
    if (each.type == kFileSystemType)
      found.push_back({each.mount_point, read_user(each.options), each.options.find("allow_other") != std::string::npos});
  return found;
}

Result<void> check_mount_point(const std::string& path) {
  const auto real = load_real_path(path);
  if (!real) return fail(cannot_resolve(path, Error(real.error())));
  if (auto dead = look_at(*real); !dead) return fail(dead);
  return {};
}

bool may_mount() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return ::geteuid() == 0;
  return (data[0].effective & (1U << CAP_SYS_ADMIN)) != 0;
}

Result<void> detach(const std::string& real_path, bool lazy) {
  if (may_mount()) {
    if (::umount2(real_path.c_str(), (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0) return {};
    if (errno != EPERM) return fail(system_error(errno, fmt::format("unmounting {}", real_path)));
  }
  return fusermount_unmount(real_path, lazy);
}

Result<std::string> prepare_mount_point(const std::string& path) {
  auto real = load_real_path(path);
  if (!real) return fail(cannot_resolve(path, std::move(real.error())));
  for (int i = 0; i < kMostDeadMounts; ++i) {
    auto dead = look_at(*real);
    if (!dead) return fail(dead);
    if (!*dead) return *real;
    if (auto gone = detach(*real, true); !gone)
      return fail(std::move(gone.error()).during("replacing a dead mount"));
  }
  return fail(Code::busy, "{} has too many dead mounts on it; unmount them", *real);
}

}  // namespace hffs
