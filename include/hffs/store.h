// SPDX-License-Identifier: Apache-2.0
//
// Store: the local index (LMDB) and the blobs' bytes (one sparse file per blob). It knows blobs and
// tables of small records; it has never heard of repositories or of the network.
//
// A block of a blob has two states. *Readable*: written, known in memory; reads wait for this one
// only. *Claimed*: synced, then committed to the index. Invariant 6: the index never claims a block
// whose bytes are not durable.
//
// A blob is *filling* or *verified* (its whole content has the hash that is its name). Each change
// of that state is a new *incarnation*, counted in the blob's row and part of its node id.
//
// Threads (all owned by the store): `writer` puts arriving blocks into files and completes their
// Done; `sync` makes them durable in batches of at most 2 s or 256 MiB; `index` is the only thread
// with an LMDB write transaction; `verify` hashes in file order as blocks become readable, settles
// finished blobs and imports; `evict` makes room; `scrub` hashes verified blobs again. Public calls may
// come from any thread; those that block on the local disk say so; none waits for the network.
// Completions run on a store thread with no lock held, and must not block. Format: docs/STORE_FORMAT.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/blob.h"
#include "hffs/bounds.h"
#include "hffs/bytes.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/posix.h"
#include "hffs/scrub.h"
#include "hffs/telemetry.h"

namespace hffs {

// Every table of the index. Who owns the encoding of its rows stands behind it.
enum class Table : std::uint8_t {
  meta,           // store: format, sequences
  blobs,          // store: number → state, bitmap
  blob_names,     // store: hex + size → number
  repos,          // catalog
  repo_names,     // catalog
  refs,           // catalog
  ref_numbers,    // catalog
  commits,        // catalog
  commit_names,   // catalog
  entries,        // catalog
  entry_names,    // catalog
  blob_sources,   // catalog
  repo_blobs,     // catalog
  overlay,        // fs
  overlay_names,  // fs
  blob_uses,      // store: number → last open
  evictions,      // store: number → incarnation; its file may still be there
  pins,           // catalog
  frozen_refs,    // catalog
  count_,         // not a table
};

// Rebuildable: may be dropped, the origin has it. Authoritative: must be migrated, never dropped.
enum class Persistence : std::uint8_t { rebuildable, authoritative };
struct TableInfo {
  std::string_view name;
  Persistence persistence;
};
const TableInfo& info(Table table);

// A consistent view of the index. Values are views into the map: they die with the transaction.
class ReadTxn {
 public:
  virtual ~ReadTxn() = default;
  virtual std::optional<std::string_view> get(Table table, std::string_view key) const = 0;
  // Rows whose key begins with `prefix` and is not less than `from`, in key order, until `visit`
  // returns false. `from` may be empty.
  virtual void scan(
      Table table, std::string_view prefix, std::string_view from,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) const = 0;
};

// The one write transaction. A failing put (map full, disk full) makes the commit fail.
class WriteTxn : public ReadTxn {
 public:
  virtual void put(Table table, std::string_view key, std::string_view value) = 0;
  virtual void erase(Table table, std::string_view key) = 0;
  // 1, 2, 3, … for each name; never a number twice, not even after a crash.
  virtual std::uint64_t next_number(std::string_view sequence) = 0;
};

struct StoreOptions {
  std::string state_dir;  // "hffs-v1" is made inside
  std::uint64_t map_size = std::uint64_t{64} << 30;
  std::chrono::milliseconds sync_interval{2'000};
  std::uint64_t sync_bytes = std::uint64_t{256} << 20;
  Limits limits;
  ScrubOptions scrub;
};

class Store {
 public:
  // Takes the lock, checks the format, recovers. Fails with busy (another process has it; the
  // message names its pid), unsupported (newer format; a network file system), no_space, denied, io.
  // Blocks on the disk. `disk` is the seam for the data files.
  static Result<std::unique_ptr<Store>> open(StoreOptions options, Disk& disk, const Clock& clock,
                                             Metrics& metrics);
  // Finishes what is queued, syncs, commits, closes.
  virtual ~Store() = default;

  // Runs `body` with a consistent view, here and now. Do not nest, do not wait inside.
  virtual void read(const std::function<void(const ReadTxn&)>& body) const = 0;
  // Queues `body` for the index thread. Done comes after the commit (durable), success or not.
  // Writes that wait together share one commit. `body` may run again if a shared commit failed.
  virtual void write(std::move_only_function<void(WriteTxn&)> body, Done<void> done) = 0;

  // Finds or adds the row of a blob, inside a write. One (id, size) is one number for ever.
  virtual std::uint64_t add_blob(WriteTxn& txn, const BlobId& id, std::uint64_t size) = 0;
  virtual std::optional<BlobInfo> find_blob(const ReadTxn& txn, std::uint64_t number) const = 0;
  // The same outside a transaction, with what is in memory (bytes_here counts readable blocks).
  virtual std::optional<BlobInfo> blob(std::uint64_t number) const = 0;

  // The blob as it is now. Blocks on the disk (opens the file) the first time. A blob stays open, and
  // is not evicted, while somebody holds the pointer.
  virtual Result<std::shared_ptr<Blob>> open_blob(std::uint64_t number) = 0;

  // Makes the file at `path` (same file system, owned by us, not written to any more) the verified
  // content of the blob if its bytes have the right size and hash; the file is moved or removed.
  // Otherwise Code::corrupt, and the file stays. Never blocks.
  virtual void import_file(std::uint64_t number, std::string path, Done<void> done) = 0;

  // Called on a store thread after a blob has a new incarnation: verified, or begun again (its bytes were
  // wrong, or lost). Set once, before use.
  virtual void on_incarnation(std::function<void(const BlobInfo&)> listener) = 0;

  virtual Result<void> flush() = 0;  // until what was written is durable and claimed; blocks
  virtual Bounds& bounds() = 0;
  virtual Scrub& scrub() = 0;

  struct Usage {
    std::uint64_t blobs = 0, verified_blobs = 0;
    std::uint64_t bytes = 0;            // claimed
    std::uint64_t unclaimed_bytes = 0;  // readable, not yet durable
    std::uint64_t free_bytes = 0;       // on the file system
  };
  virtual Usage usage() const = 0;
  virtual std::vector<std::string> damages() const = 0;  // a line for each index put aside; reads files
  // Where the verified blobs are: HH/HEX below it, each whole, right and never changed.
  virtual std::string blob_directory() const = 0;
  // A directory of the store for another module's files ("overlay"); made if absent.
  virtual Result<std::string> directory(std::string_view name) = 0;
};

}  // namespace hffs
