// SPDX-License-Identifier: Apache-2.0
#include "syncer.h"

#include "blob_rows.h"
#include "store_thread.h"

namespace hffs {

Syncer::Syncer(Options options, MovedNames& names, IndexWriter& index)
    : options_(std::move(options)), names_(names), index_(index) {
  thread_ = start_store_thread("hffs-sync", [this] { run(); });
}

void Syncer::note(const std::shared_ptr<BlobFile>& blob, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (dirty_.empty()) {
    dirty_since_ = std::chrono::steady_clock::now();
    wake_.notify_one();
  }
  dirty_.emplace(blob.get(), blob);
  dirty_bytes_ += bytes;
  if (dirty_bytes_ >= options_.bytes) wake_.notify_one();
}

void Syncer::forget(const BlobFile& blob) {
  std::shared_ptr<BlobFile> last;  // closes the file outside the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = dirty_.find(&blob); found != dirty_.end()) {
    last = std::move(found->second);
    dirty_.erase(found);
  }
}

Result<void> Syncer::flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  wake_.notify_one();
  finished_.wait(lock, [&] { return answered_ >= mine; });
  return outcome_;
}

void Syncer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Syncer::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto due = [&] {
      return stopping_ || asked_ != answered_ || dirty_bytes_ >= options_.bytes;
    };
    if (dirty_.empty()) wake_.wait(lock, [&] { return due() || !dirty_.empty(); });
    if (!dirty_.empty()) wake_.wait_until(lock, dirty_since_ + options_.interval, due);
    const bool last = stopping_;
    const std::uint64_t asked = asked_;
    Blobs batch = std::exchange(dirty_, {});
    dirty_bytes_ = 0;
    lock.unlock();
    Result<void> outcome = sync_and_claim(batch);
    note_outcome(outcome);
    for (const auto& [key, blob] : batch)
      if (blob->has_unclaimed() && !blob->superseded()) note(blob, 0);
    batch.clear();
    lock.lock();
    outcome_ = std::move(outcome);
    answered_ = asked;
    finished_.notify_all();
    if (last) return;
  }
}

Result<void> Syncer::sync_and_claim(const Blobs& blobs) {
  std::vector<Claim> claims;
  std::vector<BlobFile*> fresh;
  Result<void> outcome;
  for (const auto& [key, blob] : blobs) {
    if (blob->superseded()) continue;
    const bool fresh_name = blob->take_fresh_name();
    if (fresh_name) fresh.push_back(blob.get());
    auto durable = blob->sync();
    if (durable)
      claims.push_back({blob, std::move(*durable)});
    else
      outcome = fail(durable);
  }
  if (!fresh.empty()) {
    if (auto named = names_.sync_source(options_.directory); !named) {
      for (BlobFile* blob : fresh) blob->set_fresh_name();
      return named;
    }
  }
  if (auto committed = commit(claims); !committed) return committed;
  return outcome;
}

Result<void> Syncer::commit(const std::vector<Claim>& claims) {
  if (claims.empty()) return {};
  auto committed = index_.write_and_wait([&](WriteTxn& txn) {
    for (const Claim& claim : claims) {
      const BlobInfo& id = claim.blob->identity();
      claim_blocks(txn, id.number, id.incarnation, claim.durable);
    }
  });
  if (!committed) return committed;
  for (const Claim& claim : claims) claim.blob->note_claimed(claim.durable);
  return {};
}

// One line when claiming begins to fail, one when it works again.
void Syncer::note_outcome(const Result<void>& outcome) {
  if (outcome.has_value() != failing_) return;
  failing_ = !failing_;
  if (failing_)
    log(Level::error, "store", "new blocks cannot be made durable: {}", outcome.error().message);
  else
    log(Level::info, "store", "new blocks are made durable again");
}

}  // namespace hffs
