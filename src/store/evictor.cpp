// SPDX-License-Identifier: Apache-2.0
#include "evictor.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include "blob_rows.h"
#include "hffs/record.h"
#include "store_thread.h"

namespace hffs {
namespace {

// Together in one commit; LMDB's transactions and the waits of their openers stay short.
constexpr std::size_t kMostTogether = 128;
// Blobs are opened while they are chosen, or are just getting their verdict: then it looks again. By
// time, for where processors are short verdicts come last.
constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::milliseconds kVerdict{20};
constexpr std::chrono::milliseconds kInVain{500};

}  // namespace

Evictor::Evictor(Parts parts, const Limits& limits, std::shared_ptr<UsageCounters> usage)
    : parts_(parts), usage_(usage), space_(limits, parts.directory.root(), std::move(usage)) {
  thread_ = start_store_thread("hffs-evict", [this] { run(); });
}

void Evictor::protect(Staying staying) {
  *staying_.lock() = std::make_shared<const Staying>(std::move(staying));
}

Result<void> Evictor::reserve(Need need) {
  if (space_.take(need)) return {};
  {
    std::unique_lock lock(mutex_);
    const bool in_vain = in_vain_at_ == parts_.leases.releases() &&
                         std::chrono::steady_clock::now() < in_vain_until_;
    if (!in_vain && !stopping_) {
      wanted_ = {std::max(wanted_.bytes, need.bytes), std::max(wanted_.fresh, need.fresh)};
      const std::uint64_t mine = ++asked_;
      wake_.notify_one();
      answered_.wait(lock, [&] { return served_ >= mine || stopping_; });
    }
  }
  if (space_.take(need)) return {};
  return fail(Code::no_space,
              "the store's limit is reached, and all that it holds is open, pinned or the only copy");
}

void Evictor::evict(Order order, Done<Outcome> done) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      jobs_.push_back({std::move(order), std::move(done)});
      wake_.notify_one();
      return;
    }
  }
  done(fail(Code::cancelled, "the store is being closed"));
}

void Evictor::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
    answered_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Evictor::run() {
  std::unique_lock lock(mutex_);
  auto save_at = std::chrono::steady_clock::now() + parts_.save_interval;
  while (!stopping_) {
    wake_.wait_until(lock, save_at,
                     [&] { return stopping_ || asked_ != served_ || !jobs_.empty(); });
    if (stopping_) break;
    auto jobs = std::exchange(jobs_, {});
    const std::uint64_t asked = asked_;
    const Need wanted = std::exchange(wanted_, {});
    const bool room = asked != served_;
    lock.unlock();
    if (std::chrono::steady_clock::now() >= save_at) {
      save_recency();
      save_at = std::chrono::steady_clock::now() + parts_.save_interval;
    }
    for (Job& job : jobs) job.done(make_room(job.order, {}));
    const std::uint64_t releases = parts_.leases.releases();
    const bool in_vain = room && (!make_room({}, wanted) || space_.over(wanted) > 0);
    lock.lock();
    in_vain_at_.reset();
    if (in_vain) {
      in_vain_at_ = releases;
      in_vain_until_ = std::chrono::steady_clock::now() + kInVain;
    }
    served_ = asked;
    answered_.notify_all();
  }
  auto jobs = std::exchange(jobs_, {});
  lock.unlock();
  for (Job& job : jobs) job.done(fail(Code::cancelled, "the store is being closed"));
  save_recency();
}

Result<Bounds::Outcome> Evictor::make_room(const Order& order, Need need) {
  Outcome outcome;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (bool first = true; first || std::chrono::steady_clock::now() < end; first = false) {
    const std::uint64_t wanted = space_.shortage(need);
    if (wanted == 0 && (!first || order.blobs.empty())) break;
    const Victims victims = choose(first ? order : Order{}, wanted);
    if (first) {
      outcome.open_bytes = victims.open_bytes;
      outcome.pinned_bytes = victims.pinned_bytes;
      outcome.only_copy_bytes = victims.only_copy_bytes;
    }
    if (order.dry_run) {
      outcome.blobs = victims.numbers;
      outcome.bytes = victims.bytes;
      const std::uint64_t over = space_.over(need);
      outcome.over_bytes = over - std::min(over, victims.bytes);
      return outcome;
    }
    if (victims.numbers.empty()) break;
    const std::uint64_t before = outcome.bytes;
    if (auto went = evict_all(victims.numbers, outcome); !went) return fail(went);
    if (outcome.bytes == before) std::this_thread::sleep_for(kVerdict);
  }
  outcome.over_bytes = space_.over(need);
  return outcome;
}

Victims Evictor::choose(const Order& order, std::uint64_t wanted) const {
  const auto staying = *staying_.lock();
  if (!staying) return {};
  const std::unordered_set<std::uint64_t> going(order.blobs.begin(), order.blobs.end());
  std::unordered_set<std::uint64_t> pinned, only_copies;
  std::vector<Candidate> candidates;
  parts_.environment.read([&](const ReadTxn& txn) {
    (*staying)(txn, [&](std::uint64_t number, Stay why) {
      (why == Stay::pinned ? pinned : only_copies).insert(number);
    });
    Recency::Times times = load_times(txn);
    for (const auto& [number, time] : parts_.recency.unsaved()) times[number] = time;
    txn.scan(Table::blobs, {}, {}, [&](std::string_view key, std::string_view value) {
      const std::uint64_t number = Reader(key).key_u64();
      const auto row = decode_blob(value);
      if (!row) return true;
      Candidate each{.number = number, .bytes = row->bytes_here()};
      if (const auto blob = parts_.leases.find(number))
        each.bytes = std::max(each.bytes, blob->now().bytes_here);
      if (each.bytes == 0) return true;
      const auto time = times.find(number);
      each.last_open = time == times.end() ? 0 : time->second;
      each.open = parts_.leases.is_open(number);
      each.pinned = pinned.contains(number);
      each.ordered = going.contains(number);
      each.only_copy = only_copies.contains(number) && !(each.ordered && order.only_copies);
      candidates.push_back(each);
      return true;
    });
  });
  return choose_victims(std::move(candidates), wanted);
}

Result<void> Evictor::evict_all(const std::vector<std::uint64_t>& numbers, Outcome& outcome) {
  std::vector<OpenBlobs::Evicting> batch;
  for (const std::uint64_t number : numbers) {
    if (auto evicting = parts_.blobs.begin_evicting(number))
      batch.push_back(std::move(*evicting));
    if (batch.size() < kMostTogether) continue;
    if (auto went = evict_some(std::exchange(batch, {}), outcome); !went) return went;
  }
  return batch.empty() ? Result<void>{} : evict_some(std::move(batch), outcome);
}

Result<void> Evictor::evict_some(std::vector<OpenBlobs::Evicting> batch, Outcome& outcome) {
  std::vector<bool> began(batch.size());
  auto committed = parts_.index.write_and_wait([&](WriteTxn& txn) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      began[i] = evict_row(txn, batch[i].number, batch[i].row.incarnation);
      if (began[i]) forget_time(txn, batch[i].number);
    }
  });
  const auto listener = *listener_.lock();
  std::set<std::string> folders;
  std::vector<std::uint64_t> removed;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    OpenBlobs::Evicting& each = batch[i];
    if (each.blob) {
      // Else the next open would find the object that nothing is readable of.
      parts_.blobs.close(*each.blob);
      parts_.syncer.forget(*each.blob);
    }
    if (committed && began[i]) {
      if (remove_file(each)) {
        // What comes back to filling/ is swept.
        if (each.path == parts_.directory.blob(each.row.id))
          folders.insert(parts_.directory.blobs(each.row.id));
        removed.push_back(each.number);
      }
      outcome.blobs.push_back(each.number);
      outcome.bytes += each.bytes;
    } else if (each.blob && !each.row.verified) {
      // What was not claimed is lost with the object.
      space_.give_back(each.bytes - std::min(each.bytes, each.row.bytes_here()));
    }
    parts_.leases.end_evicting(each.number);
    if (committed && began[i] && listener) (*listener)(each.number, each.row.incarnation);
  }
  if (!committed) {
    log(Level::error, "store", "nothing can be evicted: {}", committed.error().message);
    return committed;
  }
  parts_.metrics.add(Metric::blobs_evicted, static_cast<std::int64_t>(removed.size()));
  for (const std::string& folder : folders)
    if (auto synced = parts_.disk.sync_directory(folder); !synced) {
      log(Level::warn, "store", "removals are not durable yet: {}", synced.error().message);
      return {};
    }
  parts_.index.write(
      [removed = std::move(removed)](WriteTxn& txn) {
        for (const std::uint64_t number : removed) end_eviction(txn, number);
      },
      [](Result<void>) {});  // else the next start finds that there is nothing to do
  return {};
}

// False: the file stays until the next start.
bool Evictor::remove_file(const OpenBlobs::Evicting& each) {
  space_.note_removing(each.bytes);
  auto removed = parts_.disk.remove(each.path);
  space_.give_back(each.bytes);
  if (removed) {
    if (each.blob) each.blob->note_unlinked(each.bytes);
    return true;
  }
  log(Level::error, "store", "the file of evicted blob {} stays until the next start: {}",
      each.row.id.hex(), removed.error().message);
  usage_->unlinked_bytes += static_cast<std::int64_t>(each.bytes);
  return false;
}

std::optional<WallTime> Evictor::last_open(std::uint64_t number) const {
  auto time = parts_.recency.unsaved(number);
  if (!time)
    parts_.environment.read([&](const ReadTxn& txn) { time = load_time(txn, number); });
  if (!time) return {};
  return WallTime(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::microseconds(*time)));
}

void Evictor::save_recency() {
  auto times = parts_.recency.take_unsaved();
  if (times.empty()) return;
  auto saved = parts_.index.write_and_wait([&](WriteTxn& txn) { save_times(txn, times); });
  if (saved) return;
  parts_.recency.put_back(times);
  log(Level::warn, "store", "when blobs were open is not written down: {}", saved.error().message);
}

Bounds::State Evictor::state() const {
  State state{.max_size = space_.max_size(), .min_free = space_.min_free(), .used = space_.used()};
  state.unlinked =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, usage_->unlinked_bytes.load()));
  const auto staying = *staying_.lock();
  if (!staying) return state;
  parts_.environment.read([&](const ReadTxn& txn) {
    std::set<std::pair<std::uint64_t, Stay>> seen;
    (*staying)(txn, [&](std::uint64_t number, Stay why) {
      if (!seen.emplace(number, why).second) return;
      if (const auto row = load_blob_row(txn, number))
        (why == Stay::pinned ? state.pinned : state.only_copies) += row->bytes_here();
    });
  });
  return state;
}

}  // namespace hffs
