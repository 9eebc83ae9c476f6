// SPDX-License-Identifier: Apache-2.0
#include "repo_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "hffs/ids.h"

namespace hffs::adopt {
namespace {

constexpr int kMostDepth = 64;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

// An own position in the directory, whatever was read of it before.
Result<Directory> open_listing(int at, const std::string& name) {
  UniqueFd fd(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail(system_error(errno, name));
  Directory directory(::fdopendir(fd.get()), &::closedir);
  if (!directory) return fail(system_error(errno, name));
  (void)fd.release();
  return directory;
}

template <class Visit>
Result<void> visit_names(int at, const std::string& name, Visit visit) {
  auto directory = open_listing(at, name);
  if (!directory) return fail(directory);
  errno = 0;
  while (const dirent* item = ::readdir(directory->get())) {
    const std::string here = item->d_name;
    if (here != "." && here != "..")
      if (auto visited = visit(::dirfd(directory->get()), here); !visited) return visited;
    errno = 0;
  }
  if (errno != 0) return fail(system_error(errno, name));
  return {};
}

std::int64_t nanoseconds(const statx_timestamp& time) {
  return time.tv_sec * kNanoseconds + time.tv_nsec;
}

// Of what is mounted somewhere else, too, nothing may be taken or removed here.
Result<struct statx> look_at(int at, const std::string& name, const std::string& path) {
  struct statx status{};
  if (::statx(at, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &status) != 0)
    return fail(system_error(errno, path));
  if ((status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
    return fail(Code::refused, "something is mounted at {}", path);
  return status;
}

Result<void> collect(int at, const std::string& name, const std::string& path, int depth,
                     std::vector<Item>& items) {
  if (depth > kMostDepth) return fail(Code::refused, "{} lies too deep", path);
  return visit_names(at, name, [&](int fd, const std::string& here) -> Result<void> {
    const std::string inside = path.empty() ? here : path + '/' + here;
    const auto status = look_at(fd, here, inside);
    if (!status) return fail(Error(status.error()));
    items.push_back({.path = inside,
                     .mode = status->stx_mode,
                     .inode = status->stx_ino,
                     .size = status->stx_size,
                     .device = ::makedev(status->stx_dev_major, status->stx_dev_minor),
                     .modified = nanoseconds(status->stx_mtime),
                     .changed = nanoseconds(status->stx_ctime)});
    return S_ISDIR(status->stx_mode) ? collect(fd, here, inside, depth + 1, items) : Result<void>{};
  });
}

Result<void> remove_below(int at, const std::string& name, int depth) {
  if (depth > kMostDepth) return fail(Code::refused, "{} lies too deep", name);
  auto removed = visit_names(at, name, [&](int fd, const std::string& here) -> Result<void> {
    const auto status = look_at(fd, here, here);
    if (!status)
      return status.error().code == Code::not_found ? Result<void>{} : fail(Error(status.error()));
    if (S_ISDIR(status->stx_mode)) return remove_below(fd, here, depth + 1);
    if (::unlinkat(fd, here.c_str(), 0) != 0 && errno != ENOENT)
      return fail(system_error(errno, here));
    return {};
  });
  if (!removed) return removed;
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return fail(system_error(errno, name));
  return {};
}

}  // namespace

Result<CacheDirectory> CacheDirectory::open(const std::string& path, uid_t user) {
  CacheDirectory cache;
  cache.path_ = path;
  cache.fd_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!cache.fd_ || ::fstat(cache.fd_.get(), &cache.status_) != 0)
    return fail(system_error(errno, fmt::format("opening {}", path)));
  if (cache.status_.st_uid != user)
    return fail(Code::denied, "{} belongs to another user by now", path);
  return cache;
}

std::vector<std::string> CacheDirectory::repositories() const {
  std::vector<std::string> names;
  (void)visit_names(fd_.get(), ".", [&](int, const std::string& name) -> Result<void> {
    if (RepoId::parse_layout(name)) names.push_back(name);
    return {};
  });
  std::ranges::sort(names);
  return names;
}

Standing CacheDirectory::look(const std::string& name) const {
  struct stat status{};
  if (::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return {};
  Standing found{.device = status.st_dev, .inode = status.st_ino};
  found.what = S_ISDIR(status.st_mode)   ? Stands::directory
               : S_ISLNK(status.st_mode) ? Stands::link
                                         : Stands::other;
  if (found.what == Stands::link) {
    std::array<char, PATH_MAX> target;
    const ssize_t size = ::readlinkat(fd_.get(), name.c_str(), target.data(), target.size());
    if (size > 0) found.target.assign(target.data(), static_cast<std::size_t>(size));
  }
  return found;
}

Result<void> CacheDirectory::make_link(const std::string& name, const std::string& target) {
  if (::symlinkat(target.c_str(), fd_.get(), name.c_str()) != 0)
    return fail(system_error(errno, fmt::format("{}/{}", path_, name)));
  if (::fchownat(fd_.get(), name.c_str(), status_.st_uid, status_.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
    return fail(system_error(errno, fmt::format("{}/{}", path_, name)));
  return {};
}

Result<void> CacheDirectory::exchange(const std::string& one, const std::string& other) {
  if (::syscall(SYS_renameat2, fd_.get(), one.c_str(), fd_.get(), other.c_str(), RENAME_EXCHANGE) == 0)
    return sync();
  if (errno == EINVAL || errno == ENOSYS)
    return fail(Code::unsupported, "the file system of {} cannot exchange two names in one step", path_);
  return fail(system_error(errno, fmt::format("exchanging {} and {} in {}", one, other, path_)));
}

Result<void> CacheDirectory::move(const std::string& from, const std::string& to) {
  if (::syscall(SYS_renameat2, fd_.get(), from.c_str(), fd_.get(), to.c_str(), RENAME_NOREPLACE) != 0)
    return fail(system_error(errno, fmt::format("moving {}/{} back", path_, from)));
  return sync();
}

Result<void> CacheDirectory::remove_link(const std::string& name) {
  const Stands what = look(name).what;
  if (what == Stands::nothing) return {};
  if (what != Stands::link) return fail(Code::refused, "{}/{} is no link", path_, name);
  if (::unlinkat(fd_.get(), name.c_str(), 0) != 0 && errno != ENOENT)
    return fail(system_error(errno, fmt::format("removing {}/{}", path_, name)));
  return sync();
}

Result<void> CacheDirectory::remove_tree(const std::string& name, ino_t inode) {
  const Standing found = look(name);
  if (found.what == Stands::nothing) return {};
  if (found.what != Stands::directory || found.device != status_.st_dev || found.inode != inode)
    return fail(Code::refused, "{}/{} is not the original any more", path_, name);
  if (auto removed = remove_below(fd_.get(), name, 0); !removed)
    return fail(std::move(removed.error()).during(fmt::format("removing {}/{}", path_, name)));
  return sync();
}

Result<void> CacheDirectory::sync() {
  if (::fsync(fd_.get()) != 0) return fail(system_error(errno, fmt::format("syncing {}", path_)));
  return {};
}

Result<RepoFolder> RepoFolder::open(const CacheDirectory& cache, const std::string& name) {
  RepoFolder folder;
  folder.path_ = cache.path() + '/' + name;
  folder.fd_ = UniqueFd(
      ::openat(cache.fd(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.fd_ || ::fstat(folder.fd_.get(), &folder.status_) != 0)
    return fail(system_error(errno, folder.path_));
  if (folder.status_.st_uid != cache.status().st_uid)
    return fail(Code::denied, "it belongs to another user than the cache");
  if (folder.status_.st_dev != cache.status().st_dev)
    return fail(Code::refused, "it is a file system of its own");
  return folder;
}

Result<std::vector<Item>> RepoFolder::items() const {
  std::vector<Item> items;
  if (auto collected = collect(fd_.get(), ".", "", 0, items); !collected) return fail(collected);
  std::ranges::sort(items, {}, &Item::path);
  return items;
}

Result<std::vector<RepoFolder::File>> RepoFolder::files(const std::vector<Item>& items) const {
  constexpr std::string_view kSnapshots = "snapshots/";
  std::vector<File> files;
  for (const Item& item : items) {
    if (!item.path.starts_with(kSnapshots) || S_ISDIR(item.mode)) continue;
    const std::size_t slash = item.path.find('/', kSnapshots.size());
    if (slash == item.path.npos) continue;
    struct stat status{};
    if (::fstatat(fd_.get(), item.path.c_str(), &status, 0) != 0)
      return fail(system_error(errno, item.path));
    files.push_back({.commit = item.path.substr(kSnapshots.size(), slash - kSnapshots.size()),
                     .path = item.path.substr(slash + 1),
                     .size = static_cast<std::uint64_t>(status.st_size)});
  }
  return files;
}

std::string problem_of(const RepoFolder& folder, const std::vector<Item>& items) {
  static constexpr std::array<std::string_view, 5> kMade{"blobs", "refs", "snapshots", ".no_exist",
                                                         "trees"};
  bool has_snapshot = false;
  for (const Item& item : items) {
    const std::string top = item.path.substr(0, item.path.find('/'));
    const auto depth = std::ranges::count(item.path, '/');
    // What a link leads to is not moved with it.
    if (S_ISLNK(item.mode) && (depth == 0 || (depth == 1 && top == "snapshots")))
      return fmt::format("{} is a link", item.path);
    if (std::ranges::find(kMade, top) == kMade.end())
      return fmt::format("{} is nothing that a client makes there", item.path);
    if (item.path.ends_with(".incomplete"))
      return fmt::format("{} is a download that did not end: finish it, or remove the file",
                         item.path);
    const std::string name = item.path.substr(item.path.rfind('/') + 1);
    if (top == "blobs" && item.path != top && !BlobId::parse(name) && !name.ends_with(".lock"))
      return fmt::format("{} is no blob", item.path);
    has_snapshot = has_snapshot || (top == "snapshots" && depth > 1 && !S_ISDIR(item.mode));
  }
  if (!has_snapshot) return "it holds no file of a snapshot";
  if (const auto files = folder.files(items); !files)
    return fmt::format("a link leads nowhere: {}", files.error().message);
  return {};
}

std::vector<Item> blobs_of(const std::vector<Item>& items) {
  std::vector<Item> blobs;
  for (const Item& item : items)
    if (S_ISREG(item.mode) && item.path.starts_with("blobs/")) blobs.push_back(item);
  return blobs;
}

}  // namespace hffs::adopt
