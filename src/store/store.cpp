// SPDX-License-Identifier: Apache-2.0
#include "hffs/store.h"

#include <chrono>

#include "blob_rows.h"
#include "block_writer.h"
#include "environment.h"
#include "evictor.h"
#include "index_writer.h"
#include "leases.h"
#include "lost_index.h"
#include "open_blobs.h"
#include "recency.h"
#include "recovery.h"
#include "scrubber.h"
#include "settler.h"
#include "state_dir.h"
#include "syncer.h"
#include "verifier.h"

namespace hffs {
namespace {

// What a kill costs of the order in which blobs go.
constexpr std::chrono::seconds kRecencyInterval{60};

std::shared_ptr<UsageCounters> counters_from(const UsageDelta& totals) {
  auto usage = std::make_shared<UsageCounters>();
  usage->apply(totals);
  usage->held_bytes = totals.bytes;
  return usage;
}

// The parts in the order in which each needs those before it; closed from the end that takes work.
class DiskStore final : public Store {
 public:
  DiskStore(const StoreOptions& options, StateDir directory,
            std::unique_ptr<Environment> environment, Recovered recovered, Disk& disk,
            const Clock& clock, Metrics& metrics);
  ~DiskStore() override;

  void read(const std::function<void(const ReadTxn&)>& body) const override {
    environment_->read(body);
  }
  void write(std::move_only_function<void(WriteTxn&)> body, Done<void> done) override {
    index_.write(std::move(body), std::move(done));
  }
  std::uint64_t add_blob(WriteTxn& txn, const BlobId& id, std::uint64_t size) override {
    return add_blob_row(txn, id, size);
  }
  std::optional<BlobInfo> find_blob(const ReadTxn& txn, std::uint64_t number) const override {
    const auto row = load_blob_row(txn, number);
    if (!row) return std::nullopt;
    return to_info(number, *row);
  }
  std::optional<BlobInfo> blob(std::uint64_t number) const override { return blobs_.find(number); }
  Result<std::shared_ptr<Blob>> open_blob(std::uint64_t number) override;
  void import_file(std::uint64_t number, std::string path, Done<void> done) override {
    verifier_.import_file(number, std::move(path), std::move(done));
  }
  void on_incarnation(std::function<void(const BlobInfo&)> listener) override {
    listener_.set(std::move(listener));
  }
  Result<void> flush() override;
  Bounds& bounds() override { return evictor_; }
  Scrub& scrub() override { return scrubber_; }
  Usage usage() const override;
  std::vector<std::string> damages() const override { return hffs::damages(directory_); }
  std::string blob_directory() const override;
  Result<std::string> directory(std::string_view name) override;

 private:
  Disk& disk_;
  const StateDir directory_;
  const std::unique_ptr<Environment> environment_;
  const std::shared_ptr<UsageCounters> usage_;
  const std::shared_ptr<const BlobContext> context_;
  const std::shared_ptr<Recency> recency_;
  const std::shared_ptr<Leases> leases_;
  IncarnationListener listener_;
  IndexWriter index_;
  OpenBlobs blobs_;
  MovedNames names_;
  Syncer syncer_;
  Evictor evictor_;
  Verifier verifier_;
  BlockWriter writer_;
  Scrubber scrubber_;
};

DiskStore::DiskStore(const StoreOptions& options, StateDir directory,
                     std::unique_ptr<Environment> environment, Recovered recovered, Disk& disk,
                     const Clock& clock, Metrics& metrics)
    : disk_(disk),
      directory_(std::move(directory)),
      environment_(std::move(environment)),
      usage_(counters_from(recovered.totals)),
      context_(std::make_shared<const BlobContext>(
          disk, usage_, std::make_shared<WorkQueue<PendingWrite>>())),
      recency_(std::make_shared<Recency>(clock, recovered.last_open)),
      leases_(std::make_shared<Leases>(recency_)),
      index_(*environment_, usage_, metrics),
      blobs_(context_, directory_, *environment_, index_, listener_, leases_, metrics),
      names_(disk),
      syncer_({options.sync_interval, options.sync_bytes, directory_.filling()}, names_, index_),
      evictor_({disk, directory_, *environment_, index_, blobs_, *leases_, *recency_, syncer_,
                metrics, kRecencyInterval},
               options.limits, usage_),
      verifier_({options.sync_interval, std::move(recovered.unverified), std::move(recovered.held)},
                {disk, directory_, names_, index_, blobs_, syncer_, listener_, metrics}, evictor_),
      writer_(options.sync_interval, context_->writes, evictor_, metrics,
              [this](const std::shared_ptr<BlobFile>& blob, std::uint64_t bytes) {
                syncer_.note(blob, bytes);
                verifier_.note(blob);
              }),
      scrubber_({disk, directory_, *environment_, index_, blobs_, verifier_, clock},
                options.scrub) {
  *context_->to_verify.lock() = [this](const auto& blob) { verifier_.note(blob); };
}

DiskStore::~DiskStore() {
  scrubber_.stop();
  *context_->to_verify.lock() = {};
  writer_.stop();
  verifier_.stop();
  evictor_.stop();
  leases_->stop();
  syncer_.stop();
  index_.stop();
  // What stands in blobs/ without a verdict is looked for at the next start.
  const bool clean = !verifier_.stuck();
  verifier_.abandon({Code::cancelled, "the store is being closed", {}});
  if (clean) note_clean_stop(directory_, disk_);
}

Result<std::shared_ptr<Blob>> DiskStore::open_blob(std::uint64_t number) {
  auto opened = blobs_.open(number);
  if (!opened) return fail(opened);
  return std::shared_ptr<Blob>(std::move(*opened));
}

// Claims come first: a blob that becomes whole meanwhile is left out of them, and its verdict is
// among those that follow.
Result<void> DiskStore::flush() {
  writer_.drain();
  auto claimed = syncer_.flush();
  auto settled = verifier_.drain();
  auto committed = index_.write_and_wait([](WriteTxn&) {});
  if (!claimed) return claimed;
  if (!settled) return settled;
  if (!committed) return committed;
  if (auto stuck = verifier_.stuck()) return fail(std::move(*stuck));
  return {};
}

Store::Usage DiskStore::usage() const {
  const auto value = [](const std::atomic<std::int64_t>& counter) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(0, counter.load()));
  };
  Usage usage{.blobs = value(usage_->blobs),
              .verified_blobs = value(usage_->verified_blobs),
              .bytes = value(usage_->bytes),
              .unclaimed_bytes = value(usage_->unclaimed_bytes)};
  usage.free_bytes = space_of(directory_.root()).free;
  return usage;
}

std::string DiskStore::blob_directory() const {
  return directory_.blobs();
}

Result<std::string> DiskStore::directory(std::string_view name) {
  auto path = directory_.for_others(name);
  if (!path) return path;
  if (auto made = disk_.make_directory(*path, 0700); !made) return fail(made);
  if (auto synced = disk_.sync_directory(directory_.root()); !synced) return fail(synced);
  return path;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(StoreOptions options, Disk& disk, const Clock& clock,
                                           Metrics& metrics) {
  const Instant begun = clock.now();
  auto directory = StateDir::open(options.state_dir, disk);
  if (!directory) return fail(directory);
  const auto lost = look_at_index(*directory, disk);
  if (!lost) return fail(Error(lost.error()));
  note_in_use(*directory, disk);
  auto environment = Environment::open(directory->index(), options.map_size);
  if (!environment) return fail(environment);
  // LMDB syncs what it writes, but not the name of a file that it has made.
  if (auto synced = disk.sync_directory(directory->index()); !synced) return fail(synced);
  if (auto rebuilt = rebuild_index(*directory, disk, **environment, *lost); !rebuilt)
    return fail(rebuilt);
  claim_placed_files(*directory, **environment, *lost);
  auto recovered = recover(**environment, *directory, disk);
  if (!recovered) return fail(recovered);
  log(Level::debug, "store", "opened {} in {} ms: blobs={} bytes={} unverified={} swept={}",
      directory->root(),
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.now() - begun).count(),
      recovered->totals.blobs, recovered->totals.bytes, recovered->unverified.size(),
      recovered->swept);
  return std::make_unique<DiskStore>(options, std::move(*directory), std::move(*environment),
                                     std::move(*recovered), disk, clock, metrics);
}

}  // namespace hffs
