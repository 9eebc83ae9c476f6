// SPDX-License-Identifier: Apache-2.0
//
// FilePlan: which blocks of one file to fetch ahead, from what was read of it and what it consists of.
// Decisions only: it knows no thread, no network and no clock.
//
// Sequential reads are worth nothing before kProof bytes, so that random reads and headers pull nothing (but
// for the next block, where nearly all reads go on into it). Then:
//   - where the parts (tensors) are known, to the end of the part being read, and no further;
//   - else twice as much as was read so far;
//   - when two large parts were read to the end, or much of the file, the whole of it: *filling*.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "extents.h"
#include "hffs/bytes.h"
#include "streams.h"

namespace hffs::prefetch {

class FilePlan {
 public:
  FilePlan(Format format, std::uint64_t size);

  void note_read(ByteRange range);
  // Its parts are worth looking for.
  bool wants_extents() const { return format_ != Format::other && !extents_; }
  void set_extents(Extents extents) { extents_ = std::move(extents); }
  void fill() { filling_ = true; }
  bool filling() const { return filling_; }

  // The next run of at most `most` blocks that are wanted ahead, not asked for yet and not `here`; it
  // counts as asked for.
  using Here = std::function<bool(BlockIndex)>;
  std::optional<BlockRun> next(const Here& here, BlockIndex most);
  // It did not come: it may be asked for again.
  void forget(BlockRun run);

 private:
  const ByteRange* part_at(std::uint64_t offset) const;
  void note_finished_parts(ByteRange range, const Stream& stream);
  ByteRange window(const Stream& stream) const;
  ByteRange table() const;
  std::optional<BlockRun> take(ByteRange range, const Here& here, BlockIndex most);

  const Format format_;
  const std::uint64_t size_;
  std::optional<Extents> extents_;
  Streams streams_;
  std::vector<bool> read_, asked_;  // by block
  std::uint64_t blocks_read_ = 0;
  int parts_read_ = 0;               // large ones, to the end
  std::uint64_t last_part_ = ~std::uint64_t{0};
  bool filling_ = false;
  std::uint64_t shares_ = 1;  // streams that share the window while filling
  BlockIndex filled_ = 0;  // all before it was asked for or is here
};

}  // namespace hffs::prefetch
