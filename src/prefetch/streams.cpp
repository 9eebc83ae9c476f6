// SPDX-License-Identifier: Apache-2.0
#include "streams.h"

#include <algorithm>

namespace hffs::prefetch {
namespace {

constexpr std::size_t kMost = 32;
// The kernel's reads of one stream come a little out of order, and overlap what it has read ahead.
constexpr std::uint64_t kSlack = kBlockSize;

}  // namespace

Stream& Streams::note(ByteRange range) {
  const auto found = std::find_if(streams_.begin(), streams_.end(), [&](const Stream& stream) {
    return range.offset <= stream.end + kSlack && range.end() + kSlack >= stream.end;
  });
  if (found == streams_.end()) {
    streams_.push_front({range.offset, range.end(), range.size});
    if (streams_.size() > kMost) streams_.pop_back();
    return streams_.front();
  }
  streams_.splice(streams_.begin(), streams_, found);
  Stream& stream = streams_.front();
  stream.bytes += range.size;
  stream.end = std::max(stream.end, range.end());
  return stream;
}

bool Streams::go_on_to_a_second_block() const {
  constexpr int kLatest = 4, kNearlyAll = 3;
  if (streams_.size() <= kLatest) return false;
  int went_on = 0;
  auto stream = std::next(streams_.begin());
  for (int i = 0; i < kLatest; ++i, ++stream)
    went_on += blocks_of({stream->begin, stream->end - stream->begin}).count > 1;
  return went_on >= kNearlyAll;
}

}  // namespace hffs::prefetch
