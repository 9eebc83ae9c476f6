// SPDX-License-Identifier: Apache-2.0
//
// Files: a descriptor has one owner, and reads and writes are whole or an Error. `Disk` is the seam
// through which the store touches its data files, so that tests can record, fail or reorder writes.
//
// Threads: UniqueFd is a value with one owner; Disk calls may come from any thread and block on the
// local disk (never on the network).
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "hffs/error.h"

namespace hffs {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// Links are followed; what may not be looked at does not exist.
bool exists(const std::string& path);

// The store's and the overlay's view of a file system. Paths are absolute.
class Disk {
 public:
  virtual ~Disk() = default;
  // open(2) with O_CLOEXEC | O_NOFOLLOW added.
  virtual Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) = 0;
  virtual Result<void> pwrite_all(int fd, std::span<const std::byte> bytes,
                                  std::uint64_t offset) = 0;
  // Reads until `bytes` is full or the file ends; returns the count.
  virtual Result<std::size_t> pread_some(int fd, std::span<std::byte> bytes,
                                         std::uint64_t offset) = 0;
  virtual Result<void> truncate(int fd, std::uint64_t size) = 0;
  virtual Result<void> sync_data(int fd) = 0;                        // fdatasync
  virtual Result<void> sync_directory(const std::string& path) = 0;  // fsync of the directory
  virtual Result<void> make_directory(const std::string& path, mode_t mode) = 0;  // exists: fine
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;  // unlink; absent: fine
};

// The machine's file systems.
Disk& system_disk();

}  // namespace hffs
