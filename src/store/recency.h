// SPDX-License-Identifier: Apache-2.0
//
// Recency: when each blob was open last. An open costs no write: what changed is written together,
// now and then.
//
// Threads: any; one lock, under which nothing blocks. save() and load() belong to whoever has the
// transaction.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "hffs/clock.h"
#include "hffs/guarded.h"
#include "hffs/store.h"

namespace hffs {

class Recency {
 public:
  using Times = std::unordered_map<std::uint64_t, std::int64_t>;  // by blob number; microseconds

  // `latest` is the latest time in the index: order is kept although the clock was set back.
  Recency(const Clock& clock, std::int64_t latest) : clock_(clock) { state_.lock()->latest = latest; }

  void touch(std::uint64_t number);
  // Those that are not in the index yet.
  Times unsaved() const { return state_.lock()->unsaved; }
  std::optional<std::int64_t> unsaved(std::uint64_t number) const;
  // Takes them; put_back() if they could not be written.
  Times take_unsaved();
  void put_back(const Times& times);
  // The store is being closed: touches mean nothing any more.
  void stop() { state_.lock()->stopped = true; }

 private:
  struct State {
    Times unsaved;
    std::int64_t latest = 0;
    bool stopped = false;
  };
  const Clock& clock_;
  mutable Guarded<State> state_;
};

void save_times(WriteTxn& txn, const Recency::Times& times);
void forget_time(WriteTxn& txn, std::uint64_t number);
std::optional<std::int64_t> load_time(const ReadTxn& txn, std::uint64_t number);
// All of the index. A row that cannot be decoded is a blob that was never open.
Recency::Times load_times(const ReadTxn& txn);

}  // namespace hffs
