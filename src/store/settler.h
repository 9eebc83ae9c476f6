// SPDX-License-Identifier: Apache-2.0
//
// Settler: what follows a verdict. A right blob's file moves to blobs/, a wrong one's to
// quarantine/; then the directories are synced, then the index begins the next incarnation. Many
// small blobs share these steps. What fails is kept and tried again.
//
// Threads: the verify thread; commits end on the index thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "blob_file.h"
#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/telemetry.h"
#include "index_writer.h"
#include "moved_names.h"
#include "open_blobs.h"
#include "state_dir.h"
#include "syncer.h"

namespace hffs {

class Settler {
 public:
  struct Parts {
    Disk& disk;
    const StateDir& directory;
    MovedNames& names;
    IndexWriter& index;
    OpenBlobs& blobs;
    Syncer& syncer;
    IncarnationListener& listener;
    Metrics& metrics;
  };
  explicit Settler(Parts parts) : parts_(parts) {}

  // Moves the verified, synced file at `from` to where the blob belongs.
  Result<void> place(const BlobInfo& info, const std::string& from);
  // The blob is whole, its file in place: its next incarnation is verified. `done` may be empty.
  void add(std::shared_ptr<BlobFile> blob, Done<void> done);
  // The blob's bytes are wrong, or lost: its next incarnation begins empty.
  void quarantine(std::shared_ptr<BlobFile> blob);
  void give_up(std::shared_ptr<BlobFile> blob);
  // The bytes of a verified blob, which nobody can open now, are wrong. An error, and nothing changes, if
  // its file cannot be taken away from blobs/.
  Result<void> withdraw(std::shared_ptr<BlobFile> blob);
  // Hands what was added, and what failed before, to the index.
  void commit();

  // Large or old enough to be committed although there is more to verify.
  bool batch_is_due() const;
  // Why something waits for another commit(), if something does.
  std::optional<Error> stuck() const;
  // Every `done` that still waits hears `why`.
  void abandon(const Error& why);

 private:
  enum class Verdict : std::uint8_t { right, wrong, lost };
  struct Change {
    std::shared_ptr<BlobFile> blob;
    Verdict verdict = Verdict::wrong;
    Done<void> done;
  };
  struct Failed {
    std::vector<Change> changes;
    std::optional<Error> why;
  };

  void put(Change change);
  void begin_again(std::shared_ptr<BlobFile> blob, Verdict verdict);
  void finish(Change change, Result<void> committed);
  Result<void> keep_or_remove_wrong(BlobFile& blob);
  void trim_quarantine();

  const Parts parts_;
  std::vector<Change> batch_;
  std::chrono::steady_clock::time_point batch_since_{};
  std::set<std::string> known_folders_;  // below blobs/
  mutable Guarded<Failed> failed_;
};

}  // namespace hffs
