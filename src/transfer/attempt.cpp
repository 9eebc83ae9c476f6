// SPDX-License-Identifier: Apache-2.0
#include "attempt.h"

namespace hffs::transfer {

void Attempt::on_start(ByteRange delivered) {
  Request& request = *request_;
  const std::uint64_t asked_end = bytes_of(request.run, request.source.size).end();
  reached_ = delivered.offset;
  if (delivered.offset == request.position && delivered.end() <= asked_end) {
    assembling_ = !request.partial.empty();
    block_ = static_cast<BlockIndex>(request.position / kBlockSize);
    return;
  }
  if (delivered.offset > request.position) {
    rejected_ = Error{Code::unreachable, "the answer begins behind the range", {}};
    return;
  }
  if (!engine_->begin_whole(request_)) {
    // The blocks come with the stream of another request; ask again when that has ended.
    rejected_ =
        Error{Code::unreachable, "the origin ignores ranges; waiting for the whole file", {}};
    return;
  }
  whole_ = true;
  engine_->release_buffer(request.partial.size());
  request.partial = {};
}

Flow Attempt::on_data(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (rejected_) return Flow::stop;
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

void Attempt::begin_block(std::uint64_t offset) {
  block_ = static_cast<BlockIndex>(offset / kBlockSize);
  assembling_ = true;
  const ByteRange range = bytes_of(block_, request_->source.size);
  // What came in another way is not written again; of a block that begins in its middle the
  // beginning is not known.
  skipping_ = offset != range.offset || request_->blob->readable(range);
  if (!skipping_) request_->partial.reserve(range.size);
}

void Attempt::take(std::uint64_t offset, std::span<const std::byte> bytes) {
  Request& request = *request_;
  if (!assembling_ || static_cast<BlockIndex>(offset / kBlockSize) != block_) begin_block(offset);
  progress_ = true;
  reached_ = offset + bytes.size();
  if (!whole_) request.position = reached_;
  const ByteRange range = bytes_of(block_, request.source.size);
  const bool last = reached_ == range.end();
  if (!skipping_) {
    request.partial.insert(request.partial.end(), bytes.begin(), bytes.end());
    if (last) engine_->write_block(request_, block_, std::exchange(request.partial, {}));
  } else {
    engine_->release_buffer(bytes.size());
    if (last && request.blob->readable(range)) engine_->block_found(request_, block_);
  }
  if (last) assembling_ = false;
}

void Attempt::on_done(Result<void> result) {
  const ByteRange asked = bytes_of(request_->run, request_->source.size);
  if (rejected_) {
    result = fail(std::move(*rejected_));
  } else if (!result && info(result.error().code).retry_helps && reached_ >= asked.end()) {
    result = {};  // broken behind all that was asked for
  } else if (result && reached_ < asked.end()) {
    result = fail(Code::unreachable, "the answer ended {} bytes early", asked.end() - reached_);
  }
  if (whole_) {
    // What a whole stream left over cannot be resumed: the next one starts at 0 again.
    engine_->release_buffer(request_->partial.size());
    request_->partial = {};
    engine_->end_whole(request_);
    request_->position = asked.offset;
  }
  engine_->attempt_ended(request_, std::move(result), progress_);
}

}  // namespace hffs::transfer
