// SPDX-License-Identifier: Apache-2.0
//
// Leases: the one object that stands for each blob now, and who has it open. Whoever opens a blob
// gets a pointer that counts as a lease; the store's own threads hold the object without one. A blob
// of which anybody has a lease, be it of an earlier incarnation, is not evicted; one that is being
// evicted is not leased.
//
// Threads: any, and leases outlive the store: they keep this. One lock, under which no other is
// taken and nothing blocks, but in wait_while_evicting().
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "blob_file.h"
#include "hffs/guarded.h"
#include "recency.h"

namespace hffs {

class Leases : public std::enable_shared_from_this<Leases> {
 public:
  explicit Leases(std::shared_ptr<Recency> recency) : recency_(std::move(recency)) {}

  // The object, for the store itself.
  std::shared_ptr<BlobFile> find(std::uint64_t number) const;
  // A lease of the object that stands for the blob, if there is one that is not superseded.
  std::shared_ptr<BlobFile> open(std::uint64_t number);
  // From now on this object stands for the blob. Gives a lease of it.
  std::shared_ptr<BlobFile> add(std::shared_ptr<BlobFile> blob);
  // It stands for it no longer.
  void forget(const BlobFile& blob);

  bool is_open(std::uint64_t number) const;
  // False if somebody has it open. Else nobody gets a lease until end_evicting().
  bool begin_evicting(std::uint64_t number);
  // The same though somebody has it open, of a verified blob. Gives the object that stands for it, which is
  // this one if there was none. Nullptr if it is being evicted, or a later incarnation stands for it.
  // From then on nothing is readable of the object on which it was filled.
  std::shared_ptr<BlobFile> begin_replacing(std::shared_ptr<BlobFile> blob);
  void end_evicting(std::uint64_t number);
  // False: it is not being evicted, and nothing was waited for.
  bool is_evicting(std::uint64_t number) const;
  void wait_while_evicting(std::uint64_t number);
  // Grows when a blob is let go of.
  std::uint64_t releases() const { return releases_.load(); }

  // Closes what is kept open for nobody, for good.
  void stop();

 private:
  struct Guard;
  struct Entry {
    std::weak_ptr<BlobFile> blob;
    std::weak_ptr<Guard> guard;  // shared by all leases of this object
    std::weak_ptr<BlobFile> filled;  // the one before, which became verified
    std::uint32_t guards = 0;    // with those of earlier incarnations
    bool evicting = false;
  };
  struct Table {
    std::unordered_map<std::uint64_t, Entry> entries;
    std::size_t sweep_at = 64;
    // Small verified blobs that were closed last: clients open them again and again, and each time it
    // would cost a look into the index and an open of the file.
    std::array<std::shared_ptr<BlobFile>, 256> kept;
    std::size_t next_kept = 0;
    bool stopped = false;
  };
  using Locked = Guarded<Table>::Lock;

  std::shared_ptr<BlobFile> lease(Locked& table, Entry& entry,
                                  const std::shared_ptr<BlobFile>& blob, bool& first);
  void release(std::shared_ptr<BlobFile> blob);
  static std::shared_ptr<BlobFile> shut(Locked& table, Entry& entry, std::uint64_t number);

  const std::shared_ptr<Recency> recency_;
  std::atomic<std::uint64_t> releases_{0};
  std::condition_variable evicted_;
  mutable Guarded<Table> table_;
};

}  // namespace hffs
