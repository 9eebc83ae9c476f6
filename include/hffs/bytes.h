// SPDX-License-Identifier: Apache-2.0
//
// Byte ranges and blocks. The block is the unit in which a blob is fetched, written and claimed.
//
// kBlockSize is 1 MiB: one kernel read-ahead window (also 1 MiB) touches at most two blocks, a
// header-only open costs one, and a 40 GB blob needs a bitmap of 5 KB.
// Threads: constexpr value types, any thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hffs {

using BlockIndex = std::uint32_t;
inline constexpr std::uint64_t kBlockSize = std::uint64_t{1} << 20;

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  constexpr std::uint64_t end() const { return offset + size; }
  constexpr bool empty() const { return size == 0; }
  constexpr bool operator==(const ByteRange&) const = default;
};

// Half-open run of blocks.
struct BlockRun {
  BlockIndex first = 0;
  BlockIndex count = 0;
  constexpr BlockIndex end() const { return first + count; }
  constexpr bool operator==(const BlockRun&) const = default;
};

constexpr BlockIndex block_count(std::uint64_t blob_size) {
  return static_cast<BlockIndex>((blob_size + kBlockSize - 1) / kBlockSize);
}
// The part of `range` that lies inside a blob of `blob_size` bytes.
constexpr ByteRange clip(ByteRange range, std::uint64_t blob_size) {
  const std::uint64_t begin = std::min(range.offset, blob_size);
  return {begin, std::min(range.size, blob_size - begin)};
}
// The blocks that a (non-overflowing) range touches; none for an empty range.
constexpr BlockRun blocks_of(ByteRange range) {
  if (range.empty()) return {static_cast<BlockIndex>(range.offset / kBlockSize), 0};
  const auto first = static_cast<BlockIndex>(range.offset / kBlockSize);
  const auto last = static_cast<BlockIndex>((range.end() - 1) / kBlockSize);
  return {first, last - first + 1};
}
// The bytes of a run of blocks in a blob of `blob_size` bytes (the last block may be short).
constexpr ByteRange bytes_of(BlockRun run, std::uint64_t blob_size) {
  return clip({run.first * kBlockSize, run.count * kBlockSize}, blob_size);
}
constexpr ByteRange bytes_of(BlockIndex block, std::uint64_t blob_size) {
  return bytes_of(BlockRun{block, 1}, blob_size);
}

}  // namespace hffs
