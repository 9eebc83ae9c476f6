// SPDX-License-Identifier: Apache-2.0
#include "overlay_data.h"

#include <fcntl.h>

#include <cerrno>
#include <mutex>
#include <utility>

namespace hffs::fs {

class DataFile::Use {
 public:
  static Result<Use> of(const DataFile& data) {
    if (data.file_) return Use({}, data.file_.get());
    auto file = data.open_now();
    if (!file) return fail(file);
    const int fd = file->get();
    return Use(std::move(*file), fd);
  }
  int fd() const { return fd_; }

 private:
  Use(UniqueFd own, int fd) : own_(std::move(own)), fd_(fd) {}
  UniqueFd own_;
  int fd_;
};

// A file that a crash of the machine has lost comes back empty.
Result<UniqueFd> DataFile::open_now() const {
  return disk_.open(path_, O_RDWR | (closed_ ? 0 : O_CREAT), 0600);
}

Result<void> DataFile::create() {
  auto file = disk_.open(path_, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!file) return fail(file);
  return {};
}

Result<void> DataFile::open() {
  std::unique_lock lock(gate_);
  if (!file_) {
    auto file = open_now();
    if (!file) return fail(file);
    file_ = std::move(*file);
  }
  ++opens_;
  return {};
}

void DataFile::close() {
  std::unique_lock lock(gate_);
  if (opens_ > 0 && --opens_ == 0) file_.reset();
}

Result<std::vector<std::byte>> DataFile::read(ByteRange range) const {
  std::shared_lock lock(gate_);
  auto use = Use::of(*this);
  if (!use) return fail(use);
  std::vector<std::byte> bytes(range.size);
  auto count = disk_.pread_some(use->fd(), bytes, range.offset);
  if (!count) return fail(count);
  bytes.resize(*count);
  return bytes;
}

Result<void> DataFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::shared_lock lock(gate_);
  if (closed_) return fail(Code::refused, "the file has become a blob");
  auto use = Use::of(*this);
  if (!use) return fail(use);
  return disk_.pwrite_all(use->fd(), bytes, offset);
}

Result<void> DataFile::truncate(std::uint64_t size) {
  std::shared_lock lock(gate_);
  if (closed_) return fail(Code::refused, "the file has become a blob");
  auto use = Use::of(*this);
  if (!use) return fail(use);
  return disk_.truncate(use->fd(), size);
}

Result<void> DataFile::sync() {
  std::shared_lock lock(gate_);
  auto use = Use::of(*this);
  if (!use) return fail(use);
  return disk_.sync_data(use->fd());
}

Result<void> DataFile::set_modified(WallTime time) {
  std::shared_lock lock(gate_);
  if (closed_) return {};
  auto use = Use::of(*this);
  if (!use) return fail(use);
  const timespec both[2] = {{0, UTIME_OMIT}, {time.time_since_epoch().count(), 0}};
  if (::futimens(use->fd(), both) != 0)
    return fail(system_error(errno, fmt::format("setting the time of {}", path_)));
  return {};
}

Result<DataFile::State> DataFile::state() const {
  std::shared_lock lock(gate_);
  struct stat found{};
  const int result =
      file_ ? ::fstat(file_.get(), &found) : ::lstat(path_.c_str(), &found);
  if (result != 0) return fail(system_error(errno, fmt::format("looking at {}", path_)));
  return State{static_cast<std::uint64_t>(found.st_size),
               WallTime(std::chrono::seconds(found.st_mtim.tv_sec))};
}

void DataFile::close_to_writers() {
  std::unique_lock lock(gate_);
  closed_ = true;
}

void DataFile::open_to_writers() {
  std::unique_lock lock(gate_);
  closed_ = false;
}

}  // namespace hffs::fs
