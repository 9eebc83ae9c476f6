// SPDX-License-Identifier: Apache-2.0
//
// Blob: one content, named by its hash, as far as it is here. What blocks, incarnations, and the
// states of both are: store.h.
//
// Threads: any. read() blocks on the local disk; nothing else blocks. Completions run on a store
// thread with no lock held, and must not block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/error.h"
#include "hffs/ids.h"

namespace hffs {

struct BlobInfo {
  std::uint64_t number = 0;
  BlobId id;
  std::uint64_t size = 0;
  std::uint32_t incarnation = 0;
  bool verified = false;
  std::uint64_t bytes_here = 0;  // readable now (claimed ones, for a blob that is not open)
  bool lost = false;             // told of it: the disk lost bytes of the incarnation before
};

// A blob that is open or filling: one shared object for each (number, incarnation).
class Blob {
 public:
  virtual ~Blob() = default;
  virtual const BlobInfo& identity() const = 0;  // as at open; bytes_here and verified are not updated
  virtual bool readable(ByteRange range) const = 0;
  // Runs of blocks of `range` that are not readable, in order.
  virtual std::vector<BlockRun> missing(ByteRange range) const = 0;
  // The blob has, or gets in a moment, a new incarnation. Where it was verified this object stays
  // readable; where its bytes were wrong, or lost, nothing of it is.
  virtual bool superseded() const { return false; }
  // Every byte is here, durable, and has the hash. Never of a blob whose bytes were found wrong.
  virtual bool whole() const = 0;
  // Done: the blob, all of whose blocks are readable, is whole or superseded; an error if that cannot
  // be told now. Completes on a store thread, or at once.
  virtual void when_settled(Done<void> done) = 0;
  // Reads readable bytes (clipped to the blob); blocks on the disk. Code::corrupt if some are not here.
  virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const = 0;
  // Hands whole blocks over: `bytes` starts at `first` and ends at a block's end or the blob's end.
  // Never blocks. Done: the blocks are readable. Code::no_space: nothing was kept on disk, yet
  // the bytes stay readable for a moment (a few blocks are held in memory), so that a reader
  // is served even when the disk is full.
  virtual void write(BlockIndex first, std::vector<std::byte> bytes, Done<void> done) = 0;
};

// The runs of those blocks of `all` of which `is_here` says no.
template <class IsHere>
std::vector<BlockRun> missing_runs(BlockRun all, IsHere is_here) {
  std::vector<BlockRun> runs;
  for (BlockIndex block = all.first; block < all.end(); ++block) {
    if (is_here(block)) continue;
    if (runs.empty() || runs.back().end() != block) runs.push_back({block, 0});
    ++runs.back().count;
  }
  return runs;
}

inline std::uint64_t missing_bytes(const Blob& blob, ByteRange range) {
  std::uint64_t bytes = 0;
  for (const BlockRun& run : blob.missing(range)) bytes += bytes_of(run, blob.identity().size).size;
  return bytes;
}

}  // namespace hffs
