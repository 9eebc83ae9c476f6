// SPDX-License-Identifier: Apache-2.0
#include "block_writer.h"

#include <future>
#include <utility>

#include "store_thread.h"

namespace hffs {
namespace {

// 32 MiB: as much as may be between the network and the disk at one time, so that what was in
// flight when the disk filled up is still there when its waiters come to read it.
constexpr std::size_t kMostHeld = 32;

// An error that the disk did not make is no reason to hold the bytes.
bool is_from_disk(const Result<void>& accepted) {
  return !accepted && accepted.error().code != Code::bug && accepted.error().code != Code::stale;
}

}  // namespace

void HeldBlocks::hold(const std::shared_ptr<BlobFile>& blob, BlockIndex first,
                      std::vector<std::byte> bytes) {
  const auto buffer = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  const BlockIndex blocks = block_count(buffer->size());
  for (BlockIndex i = 0; i < blocks; ++i) {
    if (blob->blocks().test(first + i)) continue;
    const ByteRange part = bytes_of(i, buffer->size());
    blob->hold(first + i, {buffer, std::span(*buffer).subspan(part.offset, part.size)});
    // Else the older place would take the newer bytes with it.
    std::erase_if(places_, [&](const Place& place) {
      return place.block == first + i && place.blob.lock() == blob;
    });
    places_.push_back({blob, first + i});
  }
  while (places_.size() > kMostHeld) {
    if (const auto owner = places_.front().blob.lock()) owner->drop_held(places_.front().block);
    places_.pop_front();
  }
}

template <class Write>
void HeldBlocks::write_back(Write write) {
  for (; !places_.empty(); places_.pop_front()) {
    const Place& place = places_.front();
    const auto owner = place.blob.lock();
    const auto held = owner ? owner->held(place.block) : std::nullopt;
    if (!held) continue;
    if (!write(owner, place.block, held->bytes)) return;
    owner->drop_held(place.block);
  }
}

BlockWriter::BlockWriter(std::chrono::milliseconds try_again,
                         std::shared_ptr<WorkQueue<PendingWrite>> queue, Evictor& evictor,
                         Metrics& metrics, Arrived arrived)
    : try_again_(try_again),
      queue_(std::move(queue)),
      evictor_(evictor),
      metrics_(metrics),
      arrived_(std::move(arrived)) {
  thread_ = start_store_thread("hffs-writer", [this] { run(); });
}

void BlockWriter::drain() {
  std::promise<void> reached;
  PendingWrite marker{nullptr, 0, {}, [&](Result<void>) { reached.set_value(); }};
  if (queue_->push(std::move(marker))) reached.get_future().wait();
}

void BlockWriter::stop() {
  queue_->close();
  if (thread_.joinable()) thread_.join();
}

void BlockWriter::run() {
  while (true) {
    std::optional<std::deque<PendingWrite>> writes;
    if (held_.empty())
      writes = queue_->take_all();
    else
      writes = queue_->take_all_within(try_again_);
    if (!writes) {
      write_back();
      continue;
    }
    if (writes->empty()) return write_back();
    while (!writes->empty()) {
      perform(std::move(writes->front()));
      writes->pop_front();
    }
    if (!failing_) write_back();
  }
}

Result<void> BlockWriter::accept(const std::shared_ptr<BlobFile>& blob, BlockIndex first,
                                 std::span<const std::byte> bytes) {
  std::uint64_t added = 0;
  Result<void> accepted = accept_within_limits(blob, first, bytes, added);
  if (added > 0) {
    metrics_.add(Metric::blocks_written, block_count(added));
    arrived_(blob, added);
  }
  if (added > 0 || is_from_disk(accepted)) note_disk_state(accepted);
  return accepted;
}

Result<void> BlockWriter::accept_within_limits(const std::shared_ptr<BlobFile>& blob,
                                               BlockIndex first, std::span<const std::byte> bytes,
                                               std::uint64_t& added) {
  const BlockRun run = blocks_of({first * kBlockSize, bytes.size()});
  std::uint64_t reserved = 0;
  if (blob->takes_blocks() && run.end() <= blob->blocks().size() && !blob->blocks().all(run)) {
    reserved = bytes.size();
    if (auto room = evictor_.reserve({reserved, reserved}); !room) return room;
  }
  Result<void> accepted = blob->accept(first, bytes, added);
  evictor_.settle(reserved, added);
  return accepted;
}

void BlockWriter::perform(PendingWrite write) {
  if (!write.blob) return write.done({});
  Result<void> accepted = accept(write.blob, write.first, write.bytes);
  if (is_from_disk(accepted)) held_.hold(write.blob, write.first, std::move(write.bytes));
  write.done(std::move(accepted));
}

void BlockWriter::write_back() {
  held_.write_back([this](const std::shared_ptr<BlobFile>& blob, BlockIndex block,
                          std::span<const std::byte> bytes) {
    return !is_from_disk(accept(blob, block, bytes));
  });
}

// One line when blocks begin not to be kept, one when all have been for a while.
void BlockWriter::note_disk_state(const Result<void>& written) {
  failing_ = !written;
  const auto now = std::chrono::steady_clock::now();
  if (failing_) {
    failed_at_ = now;
    if (!std::exchange(told_, true))
      log(Level::error, "store", "blocks are served but not kept: {}", written.error().message);
  } else if (told_ && now - failed_at_ >= calm()) {
    told_ = false;
    log(Level::info, "store", "blocks are kept again");
  }
}

}  // namespace hffs
