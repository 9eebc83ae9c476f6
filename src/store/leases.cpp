// SPDX-License-Identifier: Apache-2.0
#include "leases.h"

#include <algorithm>
#include <utility>

namespace hffs {

struct Leases::Guard {
  Guard(std::shared_ptr<Leases> its_leases, std::shared_ptr<BlobFile> its_blob)
      : leases(std::move(its_leases)), blob(std::move(its_blob)) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() { leases->release(std::move(blob)); }

  const std::shared_ptr<Leases> leases;
  std::shared_ptr<BlobFile> blob;
};

std::shared_ptr<BlobFile> Leases::find(std::uint64_t number) const {
  auto table = table_.lock();
  const auto found = table->entries.find(number);
  return found == table->entries.end() ? nullptr : found->second.blob.lock();
}

std::shared_ptr<BlobFile> Leases::lease(Locked&, Entry& entry,
                                        const std::shared_ptr<BlobFile>& blob, bool& first) {
  auto guard = entry.guard.lock();
  if (!guard) {
    guard = std::make_shared<Guard>(shared_from_this(), blob);
    entry.guard = guard;
    first = entry.guards++ == 0;
  }
  return {std::move(guard), blob.get()};
}

std::shared_ptr<BlobFile> Leases::open(std::uint64_t number) {
  bool first = false;
  std::shared_ptr<BlobFile> blob, leased;
  {
    auto table = table_.lock();
    const auto found = table->entries.find(number);
    if (found == table->entries.end() || found->second.evicting) return nullptr;
    blob = found->second.blob.lock();
    if (!blob || blob->superseded()) return nullptr;
    leased = lease(table, found->second, blob, first);
  }
  if (first) recency_->touch(number);
  return leased;
}

std::shared_ptr<BlobFile> Leases::add(std::shared_ptr<BlobFile> blob) {
  const std::uint64_t number = blob->identity().number;
  bool first = false;
  std::shared_ptr<BlobFile> leased;
  {
    auto table = table_.lock();
    Entry& entry = table->entries[number];
    if (entry.blob.lock() != blob) {
      entry.blob = blob;
      entry.guard.reset();
    }
    leased = lease(table, entry, blob, first);
    if (table->entries.size() >= table->sweep_at) {
      std::erase_if(table->entries, [](const auto& item) {
        const Entry& each = item.second;
        return each.blob.expired() && each.guards == 0 && !each.evicting;
      });
      table->sweep_at = std::max<std::size_t>(64, table->entries.size() * 2);
    }
  }
  if (first) recency_->touch(number);
  return leased;
}

void Leases::forget(const BlobFile& blob) {
  std::shared_ptr<BlobFile> last;  // closes its file after the lock
  auto table = table_.lock();
  const auto found = table->entries.find(blob.identity().number);
  if (found == table->entries.end()) return;
  Entry& entry = found->second;
  last = entry.blob.lock();
  if (last.get() != &blob) return table.unlock();
  if (last->whole()) entry.filled = last;
  entry.blob.reset();
  entry.guard.reset();
  if (entry.guards == 0 && !entry.evicting) table->entries.erase(found);
  table.unlock();
}

void Leases::release(std::shared_ptr<BlobFile> blob) {
  const BlobInfo& info = blob->identity();
  const std::uint64_t number = info.number;
  bool last = false;
  {
    auto table = table_.lock();
    Entry& entry = table->entries[number];
    last = --entry.guards == 0;
    if (last && !table->stopped && info.verified && info.size < kBlockSize)
      std::swap(table->kept[table->next_kept++ % table->kept.size()], blob);
    if (last && entry.blob.expired() && !entry.evicting) table->entries.erase(number);
  }
  if (last) recency_->touch(number);
  ++releases_;
}

bool Leases::is_open(std::uint64_t number) const {
  auto table = table_.lock();
  const auto found = table->entries.find(number);
  return found != table->entries.end() && found->second.guards > 0;
}

// Gives what is kept open for nobody: its file is closed after the lock.
std::shared_ptr<BlobFile> Leases::shut(Locked& table, Entry& entry, std::uint64_t number) {
  entry.evicting = true;
  for (auto& each : table->kept)
    if (each && each->identity().number == number) return std::move(each);
  return nullptr;
}

bool Leases::begin_evicting(std::uint64_t number) {
  std::shared_ptr<BlobFile> kept;
  auto table = table_.lock();
  Entry& entry = table->entries[number];
  if (entry.guards > 0 || entry.evicting) return false;
  kept = shut(table, entry, number);
  table.unlock();
  return true;
}

std::shared_ptr<BlobFile> Leases::begin_replacing(std::shared_ptr<BlobFile> blob) {
  const BlobInfo& info = blob->identity();
  std::shared_ptr<BlobFile> kept, now;
  auto table = table_.lock();
  Entry& entry = table->entries[info.number];
  now = entry.blob.lock();
  if (entry.evicting || (now && now->identity().incarnation > info.incarnation)) return nullptr;
  kept = shut(table, entry, info.number);
  if (now && now->identity().incarnation == info.incarnation) {
    std::swap(blob, now);
  } else {
    if (now) now->disown();
    entry.blob = blob;
    entry.guard.reset();
  }
  if (const auto filled = entry.filled.lock()) filled->disown();
  table.unlock();
  return blob;
}

void Leases::end_evicting(std::uint64_t number) {
  {
    auto table = table_.lock();
    const auto found = table->entries.find(number);
    if (found == table->entries.end()) return;
    found->second.evicting = false;
    if (found->second.blob.expired() && found->second.guards == 0) table->entries.erase(found);
  }
  evicted_.notify_all();
}

bool Leases::is_evicting(std::uint64_t number) const {
  auto table = table_.lock();
  const auto found = table->entries.find(number);
  return found != table->entries.end() && found->second.evicting;
}

void Leases::wait_while_evicting(std::uint64_t number) {
  auto table = table_.lock();
  const auto evicting = [&] {
    const auto found = table->entries.find(number);
    return found != table->entries.end() && found->second.evicting;
  };
  while (evicting()) table.wait(evicted_);
}

void Leases::stop() {
  decltype(Table::kept) kept;  // closes their files after the lock
  auto table = table_.lock();
  table->stopped = true;
  std::swap(kept, table->kept);
  table.unlock();
  recency_->stop();
}

}  // namespace hffs
