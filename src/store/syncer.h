// SPDX-License-Identifier: Apache-2.0
//
// The sync thread: makes readable blocks durable and then claims them in the index: bytes,
// fdatasync, the file's name, commit, in this order and in batches.
//
// Threads: any may call; flush() and stop() block on the disk.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "blob_file.h"
#include "hffs/error.h"
#include "index_writer.h"
#include "moved_names.h"

namespace hffs {

class Syncer {
 public:
  struct Options {
    std::chrono::milliseconds interval;
    std::uint64_t bytes;
    std::string directory;  // where the files being filled are
  };

  Syncer(Options options, MovedNames& names, IndexWriter& index);
  ~Syncer() { stop(); }
  // `bytes` of this blob became readable. Keeps the blob until they are claimed.
  void note(const std::shared_ptr<BlobFile>& blob, std::uint64_t bytes);
  // The index knows the blob's next incarnation: there is nothing left to claim.
  void forget(const BlobFile& blob);
  // Syncs and claims everything that is noted now.
  Result<void> flush();
  // A last batch, then ends.
  void stop();

 private:
  // By number, not by where they lie in memory: the same blobs are synced in the same order each time.
  struct ByNumber {
    bool operator()(const BlobFile* one, const BlobFile* other) const {
      const auto key = [](const BlobFile* blob) {
        return std::tuple(blob->identity().number, blob->identity().incarnation, blob);
      };
      return key(one) < key(other);
    }
  };
  using Blobs = std::map<const BlobFile*, std::shared_ptr<BlobFile>, ByNumber>;
  struct Claim {
    std::shared_ptr<BlobFile> blob;
    Bitmap durable;
  };

  void run();
  Result<void> sync_and_claim(const Blobs& blobs);
  Result<void> commit(const std::vector<Claim>& claims);
  void note_outcome(const Result<void>& outcome);

  const Options options_;
  MovedNames& names_;
  IndexWriter& index_;
  bool failing_ = false;  // sync thread

  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  Blobs dirty_;  // below: guarded by mutex_
  std::uint64_t dirty_bytes_ = 0;
  std::chrono::steady_clock::time_point dirty_since_{};
  std::uint64_t asked_ = 0;     // flushes asked for
  std::uint64_t answered_ = 0;  // … and those whose batch has ended
  Result<void> outcome_;        // of the last batch
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace hffs
