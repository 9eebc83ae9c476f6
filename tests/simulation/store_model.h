// SPDX-License-Identifier: Apache-2.0
//
// What a store must hold: for each blob which bytes were put where, what of them was said to be durable, and who
// has it open. Threads: any; one lock guards all.
#pragma once

#include <map>
#include <mutex>
#include <set>

#include "hffs/bounds.h"
#include "store_contents.h"
#include "trial.h"

namespace hffs::test {

class StoreModel {
 public:
  explicit StoreModel(Trial& trial) : trial_(trial) {}

  struct Block {
    std::optional<int> version;  // what was written last, perhaps; nothing: nothing was
    bool readable = false;       // the store said so, and the process has not ended since
    bool durable = false;        // a flush said so
  };
  struct Item {
    std::size_t content = 0;
    std::uint64_t number = 0;
    std::uint32_t incarnation = 1;
    bool verified = false;
    // Its right content was to be imported; a kill may leave it where the next life finds it.
    bool importing = false;
    std::vector<Block> blocks;
    std::multiset<std::uint32_t> open;  // incarnations that somebody holds
    bool pinned = false, only_copy = false;
  };
  struct State {
    std::map<std::uint64_t, Item> items;  // by number
    bool may_evict = false;   // there is a limit, or an eviction was ordered
    bool only_copies_may_go = false;
    bool disk_fails = false;  // or has failed, in this life of the store
  };

  // Everything below takes the lock.
  State copy() const {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  template <class Change>
  auto with(Change change) {
    const std::lock_guard lock(mutex_);
    return change(state_);
  }

  // A blob's object was seen, or told of.
  void see(const BlobInfo& info);
  void evicted(std::uint64_t number, std::uint32_t ended);
  // The index as it was found after a kill; the state becomes what must be there.
  void restart(State as_it_was, const std::map<std::uint64_t, BlobRow>& rows);
  void restart_cleanly();
  // A flush that began with `before` has succeeded.
  void flushed(const State& before);
  // What a read of a readable block may give.
  static bool is_wrong(const Item& item);  // something wrong was written to it
  static bool is_right(const Item& item, BlockIndex block, std::span<const std::byte> bytes, std::uint64_t offset);

 private:
  void advance(Item& item, std::uint32_t incarnation, bool verified, bool by_eviction);
  bool may_have_gone(const Item& item, std::uint32_t ended) const;

  Trial& trial_;
  mutable std::mutex mutex_;
  State state_;
};

}  // namespace hffs::test
