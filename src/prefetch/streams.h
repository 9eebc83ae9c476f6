// SPDX-License-Identifier: Apache-2.0
//
// Streams: the readers of one file, told apart by where they read. Several at once are normal: loaders
// with threads, processes that fault pages in. A handle says nothing about them.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <list>

#include "hffs/bytes.h"

namespace hffs::prefetch {

struct Stream {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;    // of what was read last
  std::uint64_t bytes = 0;  // read in order, so far
};

class Streams {
 public:
  // The stream that the read belongs to: one that ends near its beginning, else a new one.
  Stream& note(ByteRange range);
  // The latest first; few.
  const std::list<Stream>& recent() const { return streams_; }
  // Nearly all of the latest streams, but the very last, went on from their first block into the next.
  bool go_on_to_a_second_block() const;

 private:
  std::list<Stream> streams_;
};

}  // namespace hffs::prefetch
