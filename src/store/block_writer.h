// SPDX-License-Identifier: Apache-2.0
//
// The writer thread: puts arriving blocks into their files, in order of arrival, and completes
// their Done as soon as they can be read. What the disk does not take is held in memory for a
// while, so that the reader who waits for it is served: a read never fails because the disk is
// full, or the store's limit is reached. Once there is room again, what is still held goes there too.
//
// Threads: the queue takes work from any; the rest runs on the writer thread.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <thread>

#include "blob_file.h"
#include "evictor.h"
#include "hffs/telemetry.h"
#include "work_queue.h"

namespace hffs {

// The blocks held in memory, all blobs together: the oldest makes room for the newest.
class HeldBlocks {
 public:
  void hold(const std::shared_ptr<BlobFile>& blob, BlockIndex first, std::vector<std::byte> bytes);
  bool empty() const { return places_.empty(); }
  // Gives each to `write`, oldest first, until that returns false; what it took is held no longer.
  template <class Write>
  void write_back(Write write);

 private:
  struct Place {
    std::weak_ptr<BlobFile> blob;
    BlockIndex block;
  };
  std::deque<Place> places_;
};

class BlockWriter {
 public:
  // Hears of bytes that became readable, before their Done does.
  using Arrived = std::function<void(const std::shared_ptr<BlobFile>&, std::uint64_t bytes)>;

  // What the disk did not take is offered to it again every `try_again`.
  BlockWriter(std::chrono::milliseconds try_again, std::shared_ptr<WorkQueue<PendingWrite>> queue,
              Evictor& evictor, Metrics& metrics, Arrived arrived);
  ~BlockWriter() { stop(); }
  // Waits until everything handed over before is written (or has failed).
  void drain();
  // Writes what is queued and ends.
  void stop();

 private:
  void run();
  void perform(PendingWrite write);
  Result<void> accept(const std::shared_ptr<BlobFile>& blob, BlockIndex first,
                      std::span<const std::byte> bytes);
  Result<void> accept_within_limits(const std::shared_ptr<BlobFile>& blob, BlockIndex first,
                                    std::span<const std::byte> bytes, std::uint64_t& added);
  void write_back();
  void note_disk_state(const Result<void>& written);
  // Only then they are said to be kept again: at a limit some fit and others do not, by turns.
  std::chrono::milliseconds calm() const { return 30 * try_again_; }

  const std::chrono::milliseconds try_again_;
  const std::shared_ptr<WorkQueue<PendingWrite>> queue_;
  Evictor& evictor_;
  Metrics& metrics_;
  const Arrived arrived_;
  HeldBlocks held_;
  bool failing_ = false;  // the last block was not kept
  bool told_ = false;     // … and the log says so
  std::chrono::steady_clock::time_point failed_at_{};
  std::jthread thread_;
};

}  // namespace hffs
