// SPDX-License-Identifier: Apache-2.0
//
// The eviction thread: keeps the store within its limits, and writes down now and then when blobs
// were open. The order of an eviction: nobody can open the blob any more; the index begins its next
// incarnation, empty, and notes the eviction; its file is removed; the directory is synced; the note
// goes. Stopped in between, the next start finds the note and removes the file.
//
// Threads: any may call. reserve() blocks while room is made, and must not be called by the index
// thread or with a lock held. The thread itself waits for the index thread and for the disk.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "environment.h"
#include "hffs/bounds.h"
#include "hffs/telemetry.h"
#include "index_writer.h"
#include "leases.h"
#include "open_blobs.h"
#include "recency.h"
#include "space.h"
#include "state_dir.h"
#include "syncer.h"
#include "victims.h"

namespace hffs {

class Evictor final : public Bounds {
 public:
  using Staying = std::function<void(const ReadTxn&, const Visit&)>;
  struct Parts {
    Disk& disk;
    const StateDir& directory;
    const Environment& environment;
    IndexWriter& index;
    OpenBlobs& blobs;
    Leases& leases;
    Recency& recency;
    Syncer& syncer;
    Metrics& metrics;
    std::chrono::milliseconds save_interval;
  };
  Evictor(Parts parts, const Limits& limits, std::shared_ptr<UsageCounters> usage);
  ~Evictor() override { stop(); }

  // Room for so many bytes, which are then counted as used. Code::no_space: there is none, and
  // nothing may go.
  Result<void> reserve(Need need);
  Result<void> await_room(std::uint64_t bytes) override { return reserve({0, bytes}); }
  // Of what was reserved so much was used.
  void settle(std::uint64_t reserved, std::uint64_t used) {
    usage_->held_bytes += static_cast<std::int64_t>(used) - static_cast<std::int64_t>(reserved);
  }
  // Writes down when blobs were open, and ends. Later reservations get what is free.
  void stop();

  void protect(Staying staying) override;
  void on_evicted(std::function<void(std::uint64_t, std::uint32_t)> listener) override {
    *listener_.lock() = std::make_shared<const Listener>(std::move(listener));
  }
  void evict(Order order, Done<Outcome> done) override;
  State state() const override;
  std::optional<WallTime> last_open(std::uint64_t number) const override;

 private:
  struct Job {
    Order order;
    Done<Outcome> done;
  };
  using Listener = std::function<void(std::uint64_t, std::uint32_t)>;

  void run();
  // Until `need` fits, or nothing may go.
  Result<Outcome> make_room(const Order& order, Need need);
  Victims choose(const Order& order, std::uint64_t wanted) const;
  // Of these, those that went.
  Result<void> evict_all(const std::vector<std::uint64_t>& numbers, Outcome& outcome);
  Result<void> evict_some(std::vector<OpenBlobs::Evicting> batch, Outcome& outcome);
  bool remove_file(const OpenBlobs::Evicting& each);
  void save_recency();

  const Parts parts_;
  const std::shared_ptr<UsageCounters> usage_;
  Space space_;
  mutable Guarded<std::shared_ptr<const Staying>> staying_;
  Guarded<std::shared_ptr<const Listener>> listener_;

  std::mutex mutex_;
  std::condition_variable wake_, answered_;
  std::deque<Job> jobs_;  // below: guarded by mutex_
  Need wanted_;
  std::uint64_t asked_ = 0, served_ = 0;
  // In vain: not asked again before somebody lets a blob go, or a while has passed.
  std::optional<std::uint64_t> in_vain_at_;
  std::chrono::steady_clock::time_point in_vain_until_{};
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace hffs
