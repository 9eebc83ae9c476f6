// SPDX-License-Identifier: Apache-2.0
#include "open_blobs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <future>

#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr mode_t kFileMode = 0600;

// The size of an open file; nothing that a blob could have if it cannot be told.
std::uint64_t size_of(const UniqueFd& file) {
  struct stat found {};
  if (::fstat(file.get(), &found) != 0 || !S_ISREG(found.st_mode)) return ~std::uint64_t{0};
  return static_cast<std::uint64_t>(found.st_size);
}

BlobInfo next_incarnation(std::uint64_t number, const BlobRow& row, bool verified) {
  return {number, row.id, row.size, row.incarnation + 1, verified, verified ? row.size : 0};
}

}  // namespace

OpenBlobs::OpenBlobs(std::shared_ptr<const BlobContext> context, const StateDir& directory,
                     const Environment& environment, IndexWriter& index,
                     IncarnationListener& listener, std::shared_ptr<Leases> leases)
    : context_(std::move(context)),
      directory_(directory),
      environment_(environment),
      index_(index),
      listener_(listener),
      leases_(std::move(leases)) {}

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
    const auto row = load_row(number);
    if (!row) return fail(Code::not_found, "there is no blob {}", number);
    if (const auto blob = leases_->find(number);
        blob && row->incarnation == blob->identity().incarnation)
      return leases_->add(blob);
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
    opened = leases_->add(std::move(made->blob));
  }
  if (healed.valid() && !index_.on_own_thread()) healed.wait();
  return opened;
}

std::optional<OpenBlobs::Evicting> OpenBlobs::begin_evicting(std::uint64_t number) {
  const std::lock_guard no_opener(opening_[number % opening_.size()]);
  auto row = load_row(number);
  if (!row || !leases_->begin_evicting(number)) return std::nullopt;
  Evicting evicting{number, std::move(*row), nullptr, 0};
  evicting.bytes = evicting.row.bytes_here();
  auto blob = leases_->find(number);
  // One of an earlier incarnation has had its end.
  if (blob && blob->identity().incarnation == evicting.row.incarnation) {
    const auto bytes = blob->retire_to_evict();
    evicting.bytes = bytes.value_or(0);
    if (bytes && *bytes == 0) leases_->forget(*blob);
    evicting.blob = std::move(blob);
  }
  if (evicting.bytes != 0) return evicting;
  leases_->end_evicting(number);
  return std::nullopt;
}

Result<OpenBlobs::Opened> OpenBlobs::open_verified(std::uint64_t number, const BlobRow& row) {
  const std::string path = directory_.blob(row.id);
  auto file = context_->disk.open(path, O_RDONLY, 0);
  if (!file && file.error().code == Code::not_found && row.size == 0) {
    // The blob of no bytes is verified without ever having been written.
    if (auto made = context_->disk.make_directory(directory_.blobs(row.id), 0700); !made)
      return fail(made);
    file = context_->disk.open(path, O_RDONLY | O_CREAT, kFileMode);
  }
  if (file && size_of(*file) == row.size) {
    auto blob = BlobFile::verified(context_, to_info(number, row), path, std::move(*file));
    return Opened{std::move(blob), {}};
  }
  if (!file && file.error().code != Code::not_found) return fail(file);
  log(Level::error, "store", "verified blob {} {}; it is fetched again", row.id.hex(),
      file ? "has the wrong size on disk" : "is gone from the disk");
  if (auto removed = context_->disk.remove(path); !removed) return fail(removed);
  auto blob = BlobFile::filling(context_, next_incarnation(number, row, false),
                                directory_.filling(number), {}, {});
  return Opened{std::move(blob),
                [number, incarnation = row.incarnation](WriteTxn& txn) {
                  begin_incarnation(txn, number, incarnation, false);
                },
                true, -static_cast<std::int64_t>(row.size)};
}

OpenBlobs::Opened OpenBlobs::take_over(std::uint64_t number, const BlobRow& row, UniqueFd file) {
  log(Level::info, "store", "blob {} was verified before the last stop", row.id.hex());
  if (auto removed = context_->disk.remove(directory_.filling(number)); !removed)
    log(Level::warn, "store", "a leftover file stays: {}", removed.error().message);
  auto blob = BlobFile::verified(context_, next_incarnation(number, row, true),
                                 directory_.blob(row.id), std::move(file));
  return {std::move(blob),
          [number, incarnation = row.incarnation](WriteTxn& txn) {
            begin_incarnation(txn, number, incarnation, true);
          },
          true, static_cast<std::int64_t>(row.size - row.bytes_here())};
}

Result<OpenBlobs::Opened> OpenBlobs::open_filling(std::uint64_t number, const BlobRow& row) {
  if (row.size > 0)
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
  const std::uint64_t needed = std::min(row.claimed.end() * kBlockSize, row.size);
  if (row.claimed.empty() || (file && size_of(file) >= needed && size_of(file) <= row.size)) {
    auto blob =
        BlobFile::filling(context_, to_info(number, row), path, std::move(file), row.claimed);
    return Opened{std::move(blob), {}};
  }
  log(Level::error, "store", "{} bytes of blob {} are gone from the disk; they are fetched again",
      row.bytes_here(), row.id.hex());
  auto blob = BlobFile::filling(context_, to_info(number, row), path, {}, {});
  return Opened{std::move(blob),
                [number, incarnation = row.incarnation](WriteTxn& txn) {
                  drop_claims(txn, number, incarnation);
                },
                false, -static_cast<std::int64_t>(row.bytes_here())};
}

}  // namespace hffs
