// SPDX-License-Identifier: Apache-2.0
#include "burst.h"

namespace hffs::prefetch {

std::vector<std::uint64_t> Burst::choose(const std::vector<Catalog::KnownFile>& neighbours,
                                         std::optional<std::uint32_t> left) {
  std::vector<std::uint64_t> blobs;
  std::uint64_t bytes = 0;
  begun_ = true;
  next_ = 0;
  for (const auto& [path, blob] : neighbours) {
    if (blob.size > kLargestFile || blob.size == 0 || blob.verified) continue;
    const bool too_many = blobs.size() >= kMostFiles || bytes + blob.size > kMostBytes ||
                          (left && (blobs.size() + 1) * 2 > *left);
    if (too_many) {
      next_ = blob.number;
      break;
    }
    bytes += blob.size;
    blobs.push_back(blob.number);
  }
  return blobs;
}

}  // namespace hffs::prefetch
