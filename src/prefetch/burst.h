// SPDX-License-Identifier: Apache-2.0
//
// Burst: the small files of a snapshot, fetched side by side when a client opens the first of them: it
// would ask for them one after the other, a round trip each. Another burst follows only for one who
// comes to the very file at which the last one ended.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "hffs/catalog.h"

namespace hffs::prefetch {

class Burst {
 public:
  static constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kMostBytes = std::uint64_t{16} << 20;
  static constexpr std::size_t kMostFiles = 64;

  // A small file that is not here was opened: whether that begins one.
  bool may_begin(std::uint64_t blob_number) const { return !begun_ || blob_number == next_; }
  // Which blobs. `left`: what the origin still lets us ask for; no more than half of it.
  std::vector<std::uint64_t> choose(const std::vector<Catalog::KnownFile>& neighbours,
                                    std::optional<std::uint32_t> left);

 private:
  bool begun_ = false;
  std::uint64_t next_ = 0;  // what would have come next; 0: nothing
};

}  // namespace hffs::prefetch
