// SPDX-License-Identifier: Apache-2.0
//
// A real store on a memory file system through many lives: filled, read, evicted, killed.
// Threads: one, beside the store's.
#pragma once

#include <atomic>
#include <deque>
#include <memory>

#include "environment.h"
#include "store_model.h"

namespace hffs::test {

class StoreWorld {
 public:
  explicit StoreWorld(Trial& trial);
  ~StoreWorld();

  void step(Dice& dice);
  void finish();

 private:
  struct Held {
    std::uint64_t number;
    std::shared_ptr<Blob> blob;
  };
  // What a kill leaves.
  struct Remains {
    std::vector<std::tuple<Table, std::string, std::string>> rows;
    RecordingDisk::Image image;
    StoreModel::State state;
  };
  // A clock whose wall goes with it, for what is evicted first.
  struct WorldClock final : Clock {
    std::atomic<std::int64_t> time = 1'700'000'000'000;
    Instant now() const override { return Instant(std::chrono::milliseconds(time.load())); }
    WallTime wall() const override { return WallTime(std::chrono::seconds(time.load() / 1'000)); }
  };

  void open_store();
  void begin_life();
  void end_life();
  void restart(bool new_limit, Dice& dice);
  void kill();
  void note_remains();
  void at_disk_call();
  void lay_out(const Remains& remains);

  void add(Dice& dice);
  void write(Dice& dice);
  void read(Dice& dice);
  void hold(Dice& dice);
  void protect(Dice& dice);
  void evict(Dice& dice);
  void import(Dice& dice);
  void change_disk(Dice& dice);
  void flush();
  void wait_for_evictions();
  void look();
  void audit();

  std::optional<std::uint64_t> any_number(Dice& dice);
  std::shared_ptr<Blob> open(std::uint64_t number);
  void let_go(std::uint64_t number, std::shared_ptr<Blob> blob);
  void read_block(const Blob& blob, std::uint64_t number, BlockIndex block, ByteRange range);
  void settle_writes();
  void await_verdict(Blob& blob);
  void await_index();
  bool disk_works() const { return disk_->fail_percent == 0; }

  Trial& trial_;
  Dice setup_;
  // Orderly: nothing happens by a clock, and a step ends when nothing moves any more.
  const bool disk_may_fail_, orderly_;
  StoreModel model_;
  TemporaryDirectory directory_;
  WorldClock clock_;
  Metrics metrics_;
  int life_ = 0;
  std::uint64_t max_size_ = 0, most_used_ = 0;
  std::unique_ptr<FailingDisk> disk_;
  std::unique_ptr<Store> store_;
  std::atomic<Store*> known_store_ = nullptr;  // while it can be killed
  std::deque<Held> held_;
  // Writes that are not answered yet.
  std::vector<Held> writing_;
  std::atomic<int> unanswered_ = 0;
  // The kill that is to come.
  std::atomic<std::int64_t> calls_to_kill_ = -1;
  RecordingDisk::Luck luck_ = RecordingDisk::Luck::least;
  std::atomic<bool> killed_ = false;
  Remains remains_;
};

}  // namespace hffs::test
