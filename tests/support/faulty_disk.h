// SPDX-License-Identifier: Apache-2.0
//
// The machine's disk with something in front of each call.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "hffs/posix.h"

namespace hffs::test {

enum class Op {
  open,
  write,
  read,
  truncate,
  sync_data,
  sync_directory,
  make_directory,
  rename,
  remove
};
inline constexpr int kOps = 9;
inline const char* name_of(Op op) {
  constexpr const char* kNames[] = {"open",           "write",     "read",
                                    "truncate",       "sync_data", "sync_directory",
                                    "make_directory", "rename",    "remove"};
  return kNames[static_cast<int>(op)];
}

// `before` may fail a call in place of the disk; a write that it fails has its first half written.
class FaultyDisk final : public Disk {
 public:
  using Before = std::function<Result<void>(Op op, const std::string& path)>;
  explicit FaultyDisk(Before before) : before_(std::move(before)) {}
  std::function<void(std::span<std::byte> bytes)> after_read;  // may change them; set before any call

  Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) override {
    if (auto go = before_(Op::open, path); !go) return fail(go);
    return system_disk().open(path, flags, mode);
  }
  Result<void> pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) override {
    if (auto go = before_(Op::write, {}); !go) {
      (void)system_disk().pwrite_all(fd, bytes.first(bytes.size() / 2), offset);
      return go;
    }
    return system_disk().pwrite_all(fd, bytes, offset);
  }
  Result<std::size_t> pread_some(int fd, std::span<std::byte> bytes,
                                 std::uint64_t offset) override {
    if (auto go = before_(Op::read, {}); !go) return fail(go);
    auto count = system_disk().pread_some(fd, bytes, offset);
    if (count && after_read) after_read(bytes.first(*count));
    return count;
  }
  Result<void> truncate(int fd, std::uint64_t size) override {
    if (auto go = before_(Op::truncate, {}); !go) return go;
    return system_disk().truncate(fd, size);
  }
  Result<void> sync_data(int fd) override {
    if (auto go = before_(Op::sync_data, {}); !go) return go;
    return system_disk().sync_data(fd);
  }
  Result<void> sync_directory(const std::string& path) override {
    if (auto go = before_(Op::sync_directory, path); !go) return go;
    return system_disk().sync_directory(path);
  }
  Result<void> make_directory(const std::string& path, mode_t mode) override {
    if (auto go = before_(Op::make_directory, path); !go) return go;
    return system_disk().make_directory(path, mode);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (auto go = before_(Op::rename, from); !go) return go;
    return system_disk().rename(from, to);
  }
  Result<void> remove(const std::string& path) override {
    if (auto go = before_(Op::remove, path); !go) return go;
    return system_disk().remove(path);
  }

 private:
  const Before before_;
};

}  // namespace hffs::test
