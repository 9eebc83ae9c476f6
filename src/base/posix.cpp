// SPDX-License-Identifier: Apache-2.0
#include "hffs/posix.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace hffs {
namespace {

Result<void> check(int status, std::string_view action, std::string_view path) {
  if (status == 0) return {};
  return fail(system_error(errno, fmt::format("{} {}", action, path)));
}

class PosixDisk final : public Disk {
 public:
  Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) override {
    UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd) return fail(system_error(errno, fmt::format("opening {}", path)));
    return fd;
  }

  Result<void> pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) override {
    while (!bytes.empty()) {
      const ssize_t count =
          ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(system_error(errno, "writing"));
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }

  Result<std::size_t> pread_some(int fd, std::span<std::byte> bytes,
                                 std::uint64_t offset) override {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::pread(fd, bytes.data() + done, bytes.size() - done,
                                    static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(system_error(errno, "reading"));
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

  Result<void> truncate(int fd, std::uint64_t size) override {
    return check(::ftruncate(fd, static_cast<off_t>(size)), "resizing", "a file");
  }
  Result<void> sync_data(int fd) override { return check(::fdatasync(fd), "syncing", "a file"); }

  Result<void> sync_directory(const std::string& path) override {
    auto fd = open(path, O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return fail(fd);
    return check(::fsync(fd->get()), "syncing", path);
  }

  Result<void> make_directory(const std::string& path, mode_t mode) override {
    if (::mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return {};
    return fail(system_error(errno, fmt::format("making {}", path)));
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    return check(::rename(from.c_str(), to.c_str()), "renaming", from);
  }
  Result<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return fail(system_error(errno, fmt::format("removing {}", path)));
  }
};

}  // namespace

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

Disk& system_disk() {
  static PosixDisk disk;
  return disk;
}

}  // namespace hffs
