// SPDX-License-Identifier: Apache-2.0
#include "open_blobs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <future>

#include "hffs/telemetry.h"

namespace hffs {
namespace {

// The size of a regular file; nothing that a blob could have if it cannot be told.
std::uint64_t size_of(int status, const struct stat& found) {
  if (status != 0 || !S_ISREG(found.st_mode)) return ~std::uint64_t{0};
  return static_cast<std::uint64_t>(found.st_size);
}
std::uint64_t size_of(const UniqueFd& file) {
  struct stat found {};
  return size_of(::fstat(file.get(), &found), found);
}
std::uint64_t size_of(const std::string& path) {
  struct stat found {};
  return size_of(::lstat(path.c_str(), &found), found);
}

bool holds_claims(std::uint64_t size, const BlobRow& row) {
  return size >= std::min(row.claimed.end() * kBlockSize, row.size) && size <= row.size;
}


}  // namespace

OpenBlobs::OpenBlobs(std::shared_ptr<const BlobContext> context, const StateDir& directory,
                     const Environment& environment, IndexWriter& index,
                     IncarnationListener& listener, std::shared_ptr<Leases> leases, Metrics& metrics)
    : context_(std::move(context)),
      directory_(directory),
      environment_(environment),
      index_(index),
      listener_(listener),
      leases_(std::move(leases)),
      metrics_(metrics) {}

std::optional<BlobRow> OpenBlobs::load_row(std::uint64_t number) const {
  std::optional<BlobRow> row;
  environment_.read([&](const ReadTxn& txn) { row = load_blob_row(txn, number); });
  return row;
}

std::optional<BlobInfo> OpenBlobs::find(std::uint64_t number) const {
  const auto blob = leases_->find(number);
  if (blob && !blob->superseded()) return blob->now();
  const auto row = load_row(number);
  if (blob && (!row || row->incarnation == blob->identity().incarnation)) return blob->now();
  if (!row) return std::nullopt;
  return to_info(number, *row);
}

Result<std::shared_ptr<BlobFile>> OpenBlobs::open(std::uint64_t number) {
  while (true) {
    if (auto blob = leases_->open(number)) return blob;
    auto blob = open_one(number);
    if (!blob || *blob) return blob;
    // What evicts it waits for that thread.
    if (index_.on_own_thread()) return fail(Code::busy, "blob {} is being evicted", number);
    leases_->wait_while_evicting(number);
  }
}

Result<std::shared_ptr<BlobFile>> OpenBlobs::open_one(std::uint64_t number) {
  std::future<void> healed;
  std::shared_ptr<BlobFile> opened;
  {
    const std::lock_guard one_opener(opening_[number % opening_.size()]);
    if (auto blob = leases_->open(number)) return blob;
    if (leases_->is_evicting(number)) return nullptr;
    // In this order: an object goes once its end is in the index, so if there is none the row that is
    // read then is the next incarnation's.
    const auto known = leases_->find(number);
    const auto row = load_row(number);
    if (!row) return fail(Code::not_found, "there is no blob {}", number);
    if (known && row->incarnation == known->identity().incarnation) return leases_->add(known);
    if (row->size > kMostBlobBytes)
      return fail(Code::unsupported, "blob {} is said to have {} bytes", row->id.hex(), row->size);
    auto made = row->verified ? open_verified(number, *row) : open_filling(number, *row);
    if (!made) return fail(made);
    if (made->heal) {
      // Queued before anybody else has the object, so that no claim for it can come first.
      std::promise<void> committed;
      healed = committed.get_future();
      index_.write(std::move(made->heal),
                   [committed = std::move(committed), info = made->blob->identity(),
                    tell = made->new_incarnation, held = made->held, usage = context_->usage,
                    &listener = listener_](Result<void> result) mutable {
                     if (!result)
                       log(Level::warn, "store", "blob {} is healed in memory only: {}",
                           info.id.hex(), result.error().message);
                     else
                       usage->held_bytes += held;
                     committed.set_value();
                     if (result && tell) listener.tell(info);
                   });
    }
    const auto blob = std::move(made->blob);
    opened = leases_->add(blob);
    // Found whole under its own name, and not called verified.
    if (!blob->identity().verified && blob->path() == directory_.blob(row->id))
      context_->verify(blob);
  }
  if (healed.valid() && !index_.on_own_thread()) healed.wait();
  return opened;
}

std::optional<OpenBlobs::Evicting> OpenBlobs::begin_evicting(std::uint64_t number) {
  const std::lock_guard no_opener(opening_[number % opening_.size()]);
  auto row = load_row(number);
  if (!row || !leases_->begin_evicting(number)) return std::nullopt;
  Evicting evicting{number, std::move(*row), {}, nullptr, 0};
  evicting.bytes = evicting.row.bytes_here();
  evicting.path = is_placed(evicting.row) ? directory_.blob(evicting.row.id) : directory_.filling(number);
  auto blob = leases_->find(number);
  // One of an earlier incarnation has had its end.
  if (blob && blob->identity().incarnation == evicting.row.incarnation) {
    const auto bytes = blob->retire_to_evict();
    evicting.bytes = bytes.value_or(0);
    if (bytes && *bytes == 0) leases_->forget(*blob);
    evicting.path = blob->path();
    evicting.blob = std::move(blob);
  }
  if (evicting.bytes != 0) return evicting;
  leases_->end_evicting(number);
  return std::nullopt;
}

Result<std::shared_ptr<BlobFile>> OpenBlobs::begin_replacing(std::uint64_t number,
                                                             std::uint32_t incarnation) {
  const std::lock_guard no_opener(opening_[number % opening_.size()]);
  const auto stale = fail(Code::stale, "blob {} has, or gets, a new incarnation", number);
  const auto row = load_row(number);
  if (!row || !row->verified || row->incarnation != incarnation) return stale;
  const std::string path = directory_.blob(row->id);
  auto file = context_->disk.open(path, O_RDONLY, 0);
  if (!file && file.error().code != Code::not_found) return fail(file);
  auto blob = leases_->begin_replacing(BlobFile::verified(
      context_, to_info(number, *row), path, file ? std::move(*file) : UniqueFd()));
  if (!blob) return stale;
  return blob;
}

Result<OpenBlobs::Opened> OpenBlobs::open_verified(std::uint64_t number, const BlobRow& row) {
  const std::string path = directory_.blob(row.id);
  auto file = context_->disk.open(path, O_RDONLY, 0);
  if (!file && file.error().code == Code::not_found && row.size == 0) {
    // The blob of no bytes is verified without ever having been written.
    if (auto made = context_->disk.make_directory(directory_.blobs(row.id), 0700); !made)
      return fail(made);
    file = context_->disk.open(path, O_RDONLY | O_CREAT, kBlobMode);
  }
  if (file && size_of(*file) == row.size) {
    auto blob = BlobFile::verified(context_, to_info(number, row), path, std::move(*file));
    return Opened{std::move(blob), {}};
  }
  if (!file && file.error().code != Code::not_found) return fail(file);
  log(Level::error, "store", "verified blob {} {}; it is fetched again", row.id.hex(),
      file ? "has the wrong size on disk" : "is gone from the disk");
  metrics_.add(Metric::blobs_lost);
  if (auto removed = context_->disk.remove(path); !removed) return fail(removed);
  BlobInfo next{number, row.id, row.size, row.incarnation + 1, false, 0, true};
  auto blob = BlobFile::filling(context_, std::move(next), directory_.filling(number), {}, {});
  return Opened{std::move(blob),
                [number, incarnation = row.incarnation](WriteTxn& txn) {
                  begin_incarnation(txn, number, incarnation, false);
                },
                true, -static_cast<std::int64_t>(row.size)};
}

// Whether its whole file is in blobs/, though the row may not call it verified.
bool OpenBlobs::is_placed(const BlobRow& row) const {
  return row.verified || (row.claimed.count() == block_count(row.size) &&
                          size_of(directory_.blob(row.id)) == row.size);
}

// Its file in blobs/, if there is one, could not be removed. It counts no more, and goes at the next start.
bool OpenBlobs::was_evicted(std::uint64_t number, const BlobRow& row) const {
  bool evicted = false;
  environment_.read([&](const ReadTxn& txn) {
    const auto note = txn.get(Table::evictions, blob_key(number));
    evicted = note && began_with_eviction(row, *note);
  });
  return evicted;
}

// It was whole and right when it got its name. It counts as verified when it has been hashed again.
OpenBlobs::Opened OpenBlobs::take_over(std::uint64_t number, const BlobRow& row, UniqueFd file) {
  if (auto removed = context_->disk.remove(directory_.filling(number)); !removed)
    log(Level::warn, "store", "a leftover file stays: {}", removed.error().message);
  const Bitmap all = every_block(row.size);
  auto blob = BlobFile::filling(context_, to_info(number, row), directory_.blob(row.id),
                                std::move(file), all);
  if (row.claimed == all) return {std::move(blob), {}};
  return {std::move(blob),
          [number, incarnation = row.incarnation, all](WriteTxn& txn) {
            claim_blocks(txn, number, incarnation, all);
          },
          false, static_cast<std::int64_t>(row.size - row.bytes_here())};
}

bool OpenBlobs::is_damaged(std::uint64_t number) const {
  if (leases_->find(number)) return false;
  const auto row = load_row(number);
  if (!row || row->bytes_here() == 0) return false;
  if (is_placed(*row)) return size_of(directory_.blob(row->id)) != row->size;
  return !holds_claims(size_of(directory_.filling(number)), *row);
}

Result<OpenBlobs::Opened> OpenBlobs::open_filling(std::uint64_t number, const BlobRow& row) {
  if (row.size > 0 && !was_evicted(number, row))
    if (auto whole = context_->disk.open(directory_.blob(row.id), O_RDONLY, 0);
        whole && size_of(*whole) == row.size)
      return take_over(number, row, std::move(*whole));
  const std::string path = directory_.filling(number);
  UniqueFd file;
  if (!row.claimed.empty()) {
    auto found = context_->disk.open(path, O_RDWR, 0);
    if (!found && found.error().code != Code::not_found) return fail(found);
    if (found) file = std::move(*found);
  }
  if (row.claimed.empty() || (file && holds_claims(size_of(file), row))) {
    auto blob =
        BlobFile::filling(context_, to_info(number, row), path, std::move(file), row.claimed);
    return Opened{std::move(blob), {}};
  }
  log(Level::error, "store", "{} bytes of blob {} are gone from the disk; they are fetched again",
      row.bytes_here(), row.id.hex());
  metrics_.add(Metric::blobs_lost);
  auto blob = BlobFile::filling(context_, to_info(number, row), path, {}, {});
  return Opened{std::move(blob),
                [number, incarnation = row.incarnation](WriteTxn& txn) {
                  drop_claims(txn, number, incarnation);
                },
                false, -static_cast<std::int64_t>(row.bytes_here())};
}

}  // namespace hffs
