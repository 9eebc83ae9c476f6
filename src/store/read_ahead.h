// SPDX-License-Identifier: Apache-2.0
//
// A whole file that is about to be hashed from its beginning to its end: the disk is asked for bytes ahead of the
// hash, so that disk and processor work at the same time. The kernel's own read-ahead begins anew with each
// large read. Threads: one at a time; what the disk is asked for is not waited for.
#pragma once

#include <fcntl.h>

#include <cstdint>

namespace hffs {

class ReadAhead {
 public:
  static constexpr std::uint64_t kAhead = std::uint64_t{8} << 20;

  explicit ReadAhead(std::uint64_t size) : size_(size) {}
  // `at` is hashed next.
  void reach(int fd, std::uint64_t at) {
    if (asked_ >= size_ || asked_ >= at + kAhead / 2) return;
    ::posix_fadvise(fd, static_cast<off_t>(asked_), kAhead, POSIX_FADV_WILLNEED);
    asked_ += kAhead;
  }
  std::uint64_t asked() const { return asked_; }  // where that ends

 private:
  const std::uint64_t size_;
  std::uint64_t asked_ = 0;
};

}  // namespace hffs
