// SPDX-License-Identifier: Apache-2.0
#include "open_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace hffs::adopt {
namespace {

namespace files = std::filesystem;

using Identity = std::pair<dev_t, ino_t>;

class Wanted {
 public:
  Wanted(const RepoFolder& folder, const std::vector<Item>& items) : prefix_(folder.path()) {
    all_.insert({folder.status().st_dev, folder.status().st_ino});
    for (const Item& item : items) {
      all_.insert({static_cast<dev_t>(item.device), item.inode});
      inodes_.insert(item.inode);
    }
  }
  // What the kernel knows without asking anybody: the file may be on a server that hangs.
  bool at(const files::path& link) const {
    struct statx status{};
    return ::statx(AT_FDCWD, link.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status) == 0 &&
           all_.contains({::gnu_dev_makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino});
  }
  // proc(5), maps: what it says of a device is not what stat(2) says on every file system (btrfs).
  bool mapped(const std::string& line) const {
    std::istringstream fields(line);
    std::string range, access, offset, device, path;
    std::uint64_t inode = 0;
    fields >> range >> access >> offset >> device >> inode;
    if (!fields || inode == 0 || !inodes_.contains(inode)) return false;
    unsigned major = 0, minor = 0;
    if (std::sscanf(device.c_str(), "%x:%x", &major, &minor) == 2 &&
        all_.contains({::gnu_dev_makedev(major, minor), inode}))
      return true;
    std::getline(fields >> std::ws, path);
    return path.starts_with(prefix_);
  }

 private:
  const std::string prefix_;
  std::set<Identity> all_;
  std::set<std::uint64_t> inodes_;
};

bool uses(const files::path& process, const Wanted& wanted) {
  if (wanted.at(process / "cwd") || wanted.at(process / "root")) return true;
  std::error_code error;
  for (const auto& link : files::directory_iterator(process / "fd", error))
    if (wanted.at(link.path())) return true;
  std::ifstream maps(process / "maps");
  for (std::string line; std::getline(maps, line);)
    if (wanted.mapped(line)) return true;
  return false;
}

}  // namespace

std::optional<std::string> find_user_of(const RepoFolder& folder, const std::vector<Item>& items) {
  const Wanted wanted(folder, items);
  const std::string self = std::to_string(::getpid());
  std::error_code error;
  for (const auto& process : files::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename().string();
    if (pid.find_first_not_of("0123456789") != pid.npos || pid == self) continue;
    if (!uses(process.path(), wanted)) continue;
    std::ifstream file(process.path() / "comm");
    std::string name;
    std::getline(file, name);
    return fmt::format("process {} ({})", pid, name);
  }
  return std::nullopt;
}

}  // namespace hffs::adopt
