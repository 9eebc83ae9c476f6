// SPDX-License-Identifier: Apache-2.0
#include "block_writer.h"

#include <future>

#include "store_thread.h"

namespace hffs {
namespace {

// 32 MiB: as much as may be between the network and the disk at one time, so that what was in flight
// when the disk filled up is still there when its waiters come to read it.
constexpr std::size_t kMostHeld = 32;

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

BlockWriter::BlockWriter(std::shared_ptr<WorkQueue<PendingWrite>> queue, Metrics& metrics,
                         Arrived arrived)
    : queue_(std::move(queue)), metrics_(metrics), arrived_(std::move(arrived)) {
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
    auto writes = queue_->take_all();
    if (writes.empty()) return;
    while (!writes.empty()) {
      perform(std::move(writes.front()));
      writes.pop_front();
    }
  }
}

void BlockWriter::perform(PendingWrite write) {
  if (!write.blob) return write.done({});
  std::uint64_t added = 0;
  Result<void> accepted = write.blob->accept(write.first, write.bytes, added);
  if (added > 0) {
    metrics_.add(Metric::blocks_written, block_count(added));
    arrived_(write.blob, added);
  }
  const bool disk_spoke =
      accepted || (accepted.error().code != Code::bug && accepted.error().code != Code::stale);
  if (disk_spoke) note_disk_state(accepted);
  if (disk_spoke && !accepted) held_.hold(write.blob, write.first, std::move(write.bytes));
  write.done(std::move(accepted));
}

// One line when the disk stops taking blocks, one when it takes them again.
void BlockWriter::note_disk_state(const Result<void>& written) {
  if (written.has_value() != failing_) return;
  failing_ = !failing_;
  if (failing_)
    log(Level::error, "store", "blocks are served but not kept: {}", written.error().message);
  else
    log(Level::info, "store", "blocks are kept again");
}

}  // namespace hffs
