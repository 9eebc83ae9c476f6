// SPDX-License-Identifier: Apache-2.0
//
// OpenBlobs: from a blob's number to the one shared object that stands for it now, opening its file
// when nobody has it. Damage that opening finds is healed here: what the disk does not have is no
// longer claimed, and a whole file that no commit calls verified is handed to the verify thread.
//
// Threads: any. open() blocks on the disk, and on the index thread unless it runs there.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "blob_file.h"
#include "blob_rows.h"
#include "environment.h"
#include "hffs/error.h"
#include "hffs/guarded.h"
#include "index_writer.h"
#include "leases.h"
#include "state_dir.h"

namespace hffs {

// Whom to tell of new incarnations. Events before somebody listens are dropped: nobody can know the
// incarnation that ended.
class IncarnationListener {
 public:
  using Listener = std::function<void(const BlobInfo&)>;
  void set(Listener listener) {
    *listener_.lock() = std::make_shared<const Listener>(std::move(listener));
  }
  void tell(const BlobInfo& info) {
    const auto listener = *listener_.lock();
    if (listener && *listener) (*listener)(info);
  }

 private:
  Guarded<std::shared_ptr<const Listener>> listener_;
};

class OpenBlobs {
 public:
  OpenBlobs(std::shared_ptr<const BlobContext> context, const StateDir& directory,
            const Environment& environment, IndexWriter& index, IncarnationListener& listener,
            std::shared_ptr<Leases> leases, Metrics& metrics);

  // A lease. Waits while the blob is being evicted.
  Result<std::shared_ptr<BlobFile>> open(std::uint64_t number);
  // Whether opening it would find its file damaged. Cheap: a look into the index and one at the file.
  bool is_damaged(std::uint64_t number) const;
  // What is known without opening anything.
  std::optional<BlobInfo> find(std::uint64_t number) const;
  // The next open finds the row's new incarnation.
  void close(const BlobFile& blob) { leases_->forget(blob); }

  // A blob that nobody has open, and nobody can open until Leases::end_evicting().
  struct Evicting {
    std::uint64_t number = 0;
    BlobRow row;
    std::string path;                // of its file
    std::shared_ptr<BlobFile> blob;  // retired; none if there was no object
    std::uint64_t bytes = 0;         // on the disk
  };
  std::optional<Evicting> begin_evicting(std::uint64_t number);
  // The verified blob, which nobody can open until end_replacing(); who has it open keeps it.
  // Code::stale: it is another incarnation, or is being evicted.
  Result<std::shared_ptr<BlobFile>> begin_replacing(std::uint64_t number, std::uint32_t incarnation);
  void end_replacing(std::uint64_t number) { leases_->end_evicting(number); }

 private:
  // An object, and the change of the row that it already stands for.
  struct Opened {
    std::shared_ptr<BlobFile> blob;
    IndexWriter::Body heal;
    bool new_incarnation = false;
    std::int64_t held = 0;  // how many bytes more there are than the row said
  };

  // Nullptr: it is being evicted.
  Result<std::shared_ptr<BlobFile>> open_one(std::uint64_t number);
  std::optional<BlobRow> load_row(std::uint64_t number) const;
  Result<Opened> open_verified(std::uint64_t number, const BlobRow& row);
  Result<Opened> open_filling(std::uint64_t number, const BlobRow& row);
  Opened take_over(std::uint64_t number, const BlobRow& row, UniqueFd file);
  bool is_placed(const BlobRow& row) const;
  bool was_evicted(std::uint64_t number, const BlobRow& row) const;

  const std::shared_ptr<const BlobContext> context_;
  const StateDir& directory_;
  const Environment& environment_;
  IndexWriter& index_;
  IncarnationListener& listener_;
  const std::shared_ptr<Leases> leases_;
  Metrics& metrics_;
  // One opener, or evictor, of a number at a time, without a lock around all of them.
  std::array<std::mutex, 16> opening_;
};

}  // namespace hffs
