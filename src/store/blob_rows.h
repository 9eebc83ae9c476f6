// SPDX-License-Identifier: Apache-2.0
//
// The rows of the tables `blobs` and `blob_names`, and every change that they can undergo. A row
// that cannot be decoded is treated as absent, with one log line.
//
// Threads: reading: any; changing: the index thread (or recovery, before it starts).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bitmap.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/store.h"

namespace hffs {

// Larger blobs get a row but cannot be opened: ext4 holds no larger file, and a size that an origin
// made up must not make us allocate a bitmap for it.
inline constexpr std::uint64_t kMostBlobBytes = std::uint64_t{16} << 40;

struct BlobRow {
  BlobId id;
  std::uint64_t size = 0;
  std::uint32_t incarnation = 1;
  bool verified = false;
  Bitmap claimed;  // empty for a verified blob: it has every block

  std::uint64_t bytes_here() const { return verified ? size : claimed.bytes(size); }
};

std::string encode(const BlobRow& row);
Result<BlobRow> decode_blob(std::string_view bytes);
std::string blob_key(std::uint64_t number);
std::string blob_name_key(const BlobId& id, std::uint64_t size);
BlobInfo to_info(std::uint64_t number, const BlobRow& row);

std::optional<BlobRow> load_blob_row(const ReadTxn& txn, std::uint64_t number);
// As Store::add_blob. The blob of no bytes is verified from birth.
std::uint64_t add_blob_row(WriteTxn& txn, const BlobId& id, std::uint64_t size);

// Each of these does nothing unless the row still is that incarnation (and filling, for claims).
void claim_blocks(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation,
                  const Bitmap& blocks);
void drop_claims(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation);
// incarnation + 1: verified, or filling with no block. Whether it did.
bool begin_incarnation(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation,
                       bool verified);

// An evicted blob: its next incarnation begins empty, and a row of the table `evictions` stays until
// its file is gone for good.
bool evict_row(WriteTxn& txn, std::uint64_t number, std::uint32_t incarnation);
void end_eviction(WriteTxn& txn, std::uint64_t number);
// Whether this incarnation of it began with that: a file in blobs/ is not its own, but one that could not be removed.
bool began_with_eviction(const BlobRow& row, std::string_view eviction);
// Whether the row says of this blob that its files are those of an evicted one, which a stop has left.
bool is_left_by_eviction(const BlobRow& row, std::string_view eviction);

}  // namespace hffs
