// SPDX-License-Identifier: Apache-2.0
//
// The model around a transfer engine: who has asked for what, what each may hear, and when the engine may ask an
// origin for a block. Threads: one.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include "engine.h"
#include "manual_clock.h"
#include "transfer_network.h"

namespace hffs::test {

class TransferWorld {
 public:
  explicit TransferWorld(Trial& run);
  ~TransferWorld();

  void step(Dice& dice);
  void heal_and_finish();

 private:
  struct Reader {
    std::size_t blob = 0;
    ByteRange range;
    bool ahead = false;
    Instant deadline{};
    std::stop_source stop;
    bool stopped = false, open = true;
    bool blocks_lost = false;  // what it waits for was lost again since
  };
  struct Block {
    std::uint64_t touched = 0;          // fetches that asked for it since it was here or lost last
    bool attempted = false;             // … and an attempt has
    bool pulled = false;                // its request is a reader's
    std::set<std::string> refused;      // by these sources since then
    bool broken = false;                // the disk said so
  };
  struct Kept {
    std::shared_ptr<SlowBlob> blob;
    std::vector<FileSource> sources;
    std::vector<Block> blocks;
    bool left = false;  // a reader has gone without his bytes
    int corrupt_times = 0;
    Instant corrupt_until{};
    std::uint64_t size() const { return blob->identity().size; }
  };
  // Which of its means the world uses: what is never done can be relied on.
  struct Means {
    bool cancels, ahead, whole, losses, broken_disk, slow_disk, moods, corrupt;
  };

  void fetch(Dice& dice, bool ahead);
  std::size_t begin(std::size_t blob, ByteRange range, std::vector<FileSource> sources, bool ahead);
  void hear(std::size_t reader, Result<void> result);
  void pull(Kept& kept, BlockIndex block);
  bool may_hear(const Reader& reader, Code code) const;
  void attempt_begins(SlowNetwork::Attempt& attempt, const FileSource& source);
  void attempt_ends(SlowNetwork::Attempt& attempt, const Result<void>& result);
  bool somebody_waits(std::size_t blob, BlockIndex block, bool demanded) const;
  void write_one(Dice& dice, bool may_break);
  void move_network(Dice& dice, int pieces, std::uint64_t most);
  void pass_time(Dice& dice, std::chrono::milliseconds time, bool fast = false);
  void look();
  Instant now() const { return clock_.now(); }

  Trial& run_;
  Dice setup_;
  Means means_;
  transfer::Engine& engine() { return *engine_; }
  TransferOptions options_;
  ManualClock clock_;
  Metrics metrics_;
  std::deque<PendingWrite> disk_;
  SlowNetwork network_;
  std::vector<Kept> blobs_;
  std::vector<std::string> sources_;
  std::vector<Reader> readers_;
  std::size_t open_ = 0;
  std::shared_ptr<transfer::Engine> engine_;
};

}  // namespace hffs::test
