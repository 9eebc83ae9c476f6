// SPDX-License-Identifier: Apache-2.0
#include "blob_rows.h"

#include <algorithm>
#include <set>

#include "environment.h"
#include "hffs/content_hash.h"
#include "hffs/guarded.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr std::uint8_t kBlobVersion = 1;
constexpr std::uint8_t kNameVersion = 1;
constexpr std::uint8_t kEvictionVersion = 1;

void log_once(std::uint64_t number, const Error& error) {
  static Guarded<std::set<std::uint64_t>> seen;
  if (seen.lock()->insert(number).second)
    log(Level::error, "store", "blob {} is treated as absent: {}", number, error.message);
}

bool is_hash_of_nothing(const BlobId& id) {
  auto hash = ContentHash::start(id.kind(), 0);
  if (!hash) return false;
  const auto hex = hash->finish();
  return hex && *hex == id.hex();
}

UsageDelta totals(const BlobRow& row) {
  const std::uint64_t blocks =
      row.verified ? block_count(std::min(row.size, kMostBlobBytes)) : row.claimed.count();
  return {1, row.verified ? 1 : 0, static_cast<std::int64_t>(row.bytes_here()),
          static_cast<std::int64_t>(blocks)};
}

// `old` is what the row was, if there was one.
void put_blob_row(WriteTxn& txn, std::uint64_t number, const BlobRow& row, const BlobRow* old) {
  txn.put(Table::blobs, blob_key(number), encode(row));
  const UsageDelta before = old != nullptr ? totals(*old) : UsageDelta{};
  const UsageDelta after = totals(row);
  // Every WriteTxn there is comes from this module.
  UsageDelta& delta = static_cast<IndexTxn&>(txn).delta;
  delta.blobs += after.blobs - before.blobs;
  delta.verified_blobs += after.verified_blobs - before.verified_blobs;
  delta.bytes += after.bytes - before.bytes;
  delta.claimed_blocks += std::max<std::int64_t>(0, after.claimed_blocks - before.claimed_blocks);
}

}  // namespace

std::string encode(const BlobRow& row) {
  RecordWriter writer(kBlobVersion);
  writer.u8(row.verified ? 1 : 0).u32(row.incarnation).u64(row.size);
  writer.text(row.id.hex()).text(row.verified ? std::string() : row.claimed.encode());
  return std::string(std::string_view(writer));
}

Result<BlobRow> decode_blob(std::string_view bytes) {
  Reader reader(bytes);
  if (const auto version = reader.u8(); version != kBlobVersion)
    return fail(Code::corrupt, "blob record of version {}, expected {}", version, kBlobVersion);
  const std::uint8_t state = reader.u8();
  const std::uint32_t incarnation = reader.u32();
  const std::uint64_t size = reader.u64();
  const std::string_view hex = reader.text();
  const std::string_view claimed = reader.text();
  if (!reader.complete() || state > 1) return fail(Code::corrupt, "blob record is damaged");
  auto id = BlobId::parse(hex);
  if (!id) return fail(id);
  auto blocks = Bitmap::decode(claimed, size > kMostBlobBytes ? 0 : block_count(size));
  if (!blocks) return fail(Code::corrupt, "blob record claims blocks behind the blob's end");
  return BlobRow{std::move(*id), size, incarnation, state == 1, std::move(*blocks)};
}

std::string blob_key(std::uint64_t number) {
  return KeyWriter().u64(number).bytes();
}

std::string blob_name_key(const BlobId& id, std::uint64_t size) {
  return KeyWriter().text(id.hex()).u64(size).bytes();
}

BlobInfo to_info(std::uint64_t number, const BlobRow& row) {
  return {number, row.id, row.size, row.incarnation, row.verified, row.bytes_here()};
}

std::optional<BlobRow> load_blob_row(const ReadTxn& txn, std::uint64_t number) {
  const auto bytes = txn.get(Table::blobs, blob_key(number));
  if (!bytes) return std::nullopt;
  auto row = decode_blob(*bytes);
  if (row) return std::move(*row);
  log_once(number, row.error());
  return std::nullopt;
}

std::uint64_t add_blob_row(WriteTxn& txn, const BlobId& id, std::uint64_t size) {
  const std::string name = blob_name_key(id, size);
  if (const auto bytes = txn.get(Table::blob_names, name)) {
    Reader reader(*bytes);
    const bool known = reader.u8() == kNameVersion;
    const std::uint64_t number = reader.u64();
    // A name whose row is lost gets a new number: nobody knows which incarnation the old one had.
    if (known && reader.complete() && load_blob_row(txn, number)) return number;
  }
  const std::uint64_t number = txn.next_number("blobs");
  txn.put(Table::blob_names, name, RecordWriter(kNameVersion).u64(number));
  const BlobRow row{id, size, 1, size == 0 && is_hash_of_nothing(id), {}};
  put_blob_row(txn, number, row, nullptr);
  return number;
}

void claim_blocks(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation,
                  const Bitmap& blocks) {
  const auto old = load_blob_row(txn, number);
  if (!old || old->incarnation != incarnation || old->verified) return;
  BlobRow row = *old;
  row.claimed.merge(blocks);
  if (row.claimed.count() != old->claimed.count()) put_blob_row(txn, number, row, &*old);
}

void drop_claims(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation) {
  const auto old = load_blob_row(txn, number);
  if (!old || old->incarnation != incarnation || old->verified) return;
  BlobRow row = *old;
  row.claimed = {};
  put_blob_row(txn, number, row, &*old);
}

bool begin_incarnation(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation,
                       bool verified) {
  const auto old = load_blob_row(txn, number);
  if (!old || old->incarnation != incarnation) return false;
  const BlobRow row{old->id, old->size, incarnation + 1, verified, {}};
  put_blob_row(txn, number, row, &*old);
  return true;
}

bool evict_row(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation) {
  if (!begin_incarnation(txn, number, incarnation, false)) return false;
  txn.put(Table::evictions, blob_key(number), RecordWriter(kEvictionVersion).u32(incarnation + 1));
  return true;
}

void end_eviction(WriteTxn& txn, std::uint64_t number) {
  txn.erase(Table::evictions, blob_key(number));
}

bool began_with_eviction(const BlobRow& row, std::string_view eviction) {
  Reader reader(eviction);
  const bool known = reader.u8() == kEvictionVersion;
  const std::uint32_t incarnation = reader.u32();
  return known && reader.complete() && !row.verified && row.incarnation == incarnation;
}

bool is_left_by_eviction(const BlobRow& row, std::string_view eviction) {
  return began_with_eviction(row, eviction) && row.claimed.empty();
}

}  // namespace hffs
