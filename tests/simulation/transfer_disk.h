// SPDX-License-Identifier: Apache-2.0
//
// Blobs of the simulated transfer: which blocks are readable, and a disk that takes its time. Content is never
// kept: what arrives is compared with what it must be.
// Threads: one.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "hffs/store.h"
#include "trial.h"

namespace hffs::test {

constexpr BlockIndex kMostBlocks = 12;

// The bytes of all blobs, one overlapping the next.
inline std::span<const std::byte> content_of(std::uint64_t blob, ByteRange range) {
  static const std::vector<std::byte> pool = [] {
    std::vector<std::byte> bytes((kMostBlocks + 1) * kBlockSize);
    Dice dice{77};
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      const std::uint64_t word = dice.next();
      std::memcpy(bytes.data() + i, &word, 8);
    }
    return bytes;
  }();
  return std::span(pool).subspan(blob * 4'099 + range.offset, range.size);
}

class SlowBlob;

struct PendingWrite {
  std::shared_ptr<SlowBlob> blob;
  BlockIndex block;
  Done<void> done;
};

class SlowBlob final : public Blob, public std::enable_shared_from_this<SlowBlob> {
 public:
  SlowBlob(Trial& run, std::deque<PendingWrite>& disk, std::uint64_t number, std::uint64_t size)
      : here(block_count(size)),
        writing(block_count(size)),
        run_(run),
        disk_(disk),
        info_{.number = number, .id = *BlobId::parse(std::string(64, 'a')), .size = size} {}

  const BlobInfo& identity() const override { return info_; }
  bool readable(ByteRange range) const override { return missing(range).empty(); }
  std::vector<BlockRun> missing(ByteRange range) const override {
    return missing_runs(blocks_of(clip(range, info_.size)), [this](BlockIndex block) { return bool{here[block]}; });
  }
  bool whole() const override { return false; }
  void when_settled(Done<void> done) override { done({}); }
  Result<std::size_t> read(std::uint64_t, std::span<std::byte>) const override { return 0; }
  void write(BlockIndex block, std::vector<std::byte> bytes, Done<void> done) override {
    const ByteRange range = bytes_of(block, info_.size);
    run_.note("  blob {}: block {} goes to the disk", info_.number, block);
    if (run_.check(bytes.size() == range.size, "invariant 11: block {} of blob {} has {} bytes, not {}", block,
                   info_.number, bytes.size(), range.size))
      run_.check(std::memcmp(bytes.data(), content_of(info_.number, range).data(), bytes.size()) == 0,
                 "invariant 11: block {} of blob {} has wrong bytes", block, info_.number);
    run_.check(may_repeat || !here[block], "block {} of blob {} is written though it is here", block, info_.number);
    run_.check(may_repeat || !writing[block], "block {} of blob {} is written twice", block, info_.number);
    ++writing[block];
    disk_.push_back({shared_from_this(), block, std::move(done)});
  }

  std::vector<bool> here;
  std::vector<int> writing;  // how often each block is on its way
  bool may_repeat = false;   // an origin sends what nobody asked for, or blocks are lost

 private:
  Trial& run_;
  std::deque<PendingWrite>& disk_;
  const BlobInfo info_;
};

}  // namespace hffs::test
