// SPDX-License-Identifier: Apache-2.0
//
// Space: the limits as arithmetic: whether so many bytes more fit, and how many must go.
//
// Threads: any; statvfs is all that may block.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "hffs/bounds.h"
#include "hffs/guarded.h"
#include "usage_counters.h"

namespace hffs {

// What is to be kept, and how much of it is not on the disk yet.
struct Need {
  std::uint64_t bytes = 0;
  std::uint64_t fresh = 0;
};

class Space {
 public:
  Space(const Limits& limits, std::string directory, std::shared_ptr<UsageCounters> usage);

  // Reserves the bytes, or changes nothing.
  bool take(Need need);
  // They were not needed, or are gone from the disk.
  void give_back(std::uint64_t bytes);
  // How many bytes must go until that fits, with a margin, so that not every block makes somebody
  // go; 0 if it fits now.
  std::uint64_t shortage(Need need) const { return over_limits(need, true); }
  // The same without the margin.
  std::uint64_t over(Need need) const { return over_limits(need, false); }
  // A file of so many bytes is about to be removed. Some file systems show that late.
  void note_removing(std::uint64_t bytes);

  std::uint64_t max_size() const { return max_size_; }
  std::uint64_t min_free() const { return min_free_; }
  std::uint64_t used() const;

 private:
  struct Promise {
    std::uint64_t free = 0;  // what should be free by now
    std::chrono::steady_clock::time_point until{};
  };

  std::uint64_t free_now() const;
  std::uint64_t over_limits(Need need, bool margin) const;

  const std::string directory_;
  const std::shared_ptr<UsageCounters> usage_;
  const std::uint64_t max_size_;
  const std::uint64_t min_free_;
  mutable Guarded<Promise> promise_;
};

// Bytes of a file system, and those that are free to us; zeros if it does not tell.
struct FileSystemSpace {
  std::uint64_t bytes = 0, free = 0;
};
FileSystemSpace space_of(const std::string& directory);

}  // namespace hffs
