// SPDX-License-Identifier: Apache-2.0
#include "attempt.h"

namespace hffs::transfer {

void Attempt::on_start(ByteRange delivered) {
  Request& request = *request_;
  const std::uint64_t asked_end = bytes_of(request.run, request.source.size).end();
  if (delivered.offset == request.position && delivered.end() <= asked_end) {
    assembling_ = !request.partial.empty();
    block_ = static_cast<BlockIndex>(request.position / kBlockSize);
    return;
  }
  whole_ = true;
  refused_ = !engine_->begin_whole(request_);
  if (refused_) return;
  engine_->release_buffer(request.partial.size());
  request.partial = {};
}

Flow Attempt::on_data(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (refused_) return Flow::stop;
  // All or nothing: room for every byte of this piece first (skipped bytes need none, but that is
  // rare and the reserve is given back at once).
  if (!engine_->reserve_buffer(bytes.size(), request_)) return Flow::pause;
  while (!bytes.empty()) {
    const ByteRange block =
        bytes_of(static_cast<BlockIndex>(offset / kBlockSize), request_->source.size);
    const std::size_t count = std::min<std::uint64_t>(bytes.size(), block.end() - offset);
    take(offset, bytes.first(count));
    bytes = bytes.subspan(count);
    offset += count;
  }
  return Flow::more;
}

void Attempt::begin_block(BlockIndex block) {
  block_ = block;
  assembling_ = true;
  const ByteRange range = bytes_of(block, request_->source.size);
  skipping_ = whole_ && request_->blob->readable(range);
  if (!skipping_) request_->partial.reserve(range.size);
}

void Attempt::take(std::uint64_t offset, std::span<const std::byte> bytes) {
  Request& request = *request_;
  const auto block = static_cast<BlockIndex>(offset / kBlockSize);
  if (!assembling_ || block != block_) begin_block(block);
  progress_ = true;
  if (!whole_) request.position = offset + bytes.size();
  const ByteRange range = bytes_of(block, request.source.size);
  const bool last = offset + bytes.size() == range.end();
  if (skipping_) {
    engine_->release_buffer(bytes.size());
  } else {
    request.partial.insert(request.partial.end(), bytes.begin(), bytes.end());
    if (last) engine_->write_block(request_, block, std::exchange(request.partial, {}));
  }
  if (last) assembling_ = false;
}

void Attempt::on_done(Result<void> result) {
  if (whole_) {
    // What a whole stream left over cannot be resumed: the next one starts at 0 again.
    engine_->release_buffer(request_->partial.size());
    request_->partial = {};
    if (!refused_) engine_->end_whole(request_);
    request_->position = bytes_of(request_->run, request_->source.size).offset;
  }
  // The blocks come with the stream of another request; ask again when that has ended.
  if (refused_ && !result && result.error().code == Code::cancelled)
    result = fail(Code::unreachable, "the origin ignores ranges; waiting for the whole file");
  engine_->attempt_ended(request_, std::move(result), progress_);
}

}  // namespace hffs::transfer
