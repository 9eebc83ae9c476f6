// SPDX-License-Identifier: Apache-2.0
//
// Which blocks of a blob. Bitmap is a plain value, as the index keeps it; BlockMap is the same in
// memory, read without a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/bytes.h"

namespace hffs {

// A set of blocks that grows as needed, so that an unstarted blob of any size costs nothing.
// Threads: a value type.
class Bitmap {
 public:
  // The bits as bytes, block 0 in the lowest bit of the first byte, without trailing zero bytes.
  std::string encode() const;
  // Nullopt if a bit stands at or behind `blocks`.
  static std::optional<Bitmap> decode(std::string_view bytes, std::uint64_t blocks);

  bool test(BlockIndex block) const;
  void set(BlockIndex block);
  void set_word(std::size_t index, std::uint64_t bits);
  void merge(const Bitmap& other);
  bool empty() const;
  std::uint64_t count() const;
  // One behind the last block of the set; 0 for an empty one.
  std::uint64_t end() const;
  // The bytes that these blocks have in a blob of `blob_size` bytes.
  std::uint64_t bytes(std::uint64_t blob_size) const;
  const std::vector<std::uint64_t>& words() const { return words_; }
  bool operator==(const Bitmap& other) const { return encode() == other.encode(); }

 private:
  std::vector<std::uint64_t> words_;
};

// Those of a blob that is here whole.
Bitmap every_block(std::uint64_t blob_size);

// The readable blocks of an open blob. A block that is set was written before (release), so whoever
// sees it set (acquire) may read its bytes. Threads: any may ask; changes are made under the lock
// of the blob that owns it.
class BlockMap {
 public:
  explicit BlockMap(BlockIndex blocks);
  BlockIndex size() const { return blocks_; }
  bool test(BlockIndex block) const;
  bool all(BlockRun run) const;
  bool full() const { return all({0, blocks_}); }
  void set(BlockRun run);
  void assign(const Bitmap& blocks);
  Bitmap snapshot() const;

 private:
  BlockIndex blocks_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
};

}  // namespace hffs
