// SPDX-License-Identifier: Apache-2.0
//
// The scrub thread: one blob after the other, by number, so that each is hashed once in a period; how
// far it is stands in the index. And what is verified on demand, each on a thread of its own.
//
// Blobs are read by their path, without a lease: an eviction does not wait for it, and recency does
// not hear of it.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "environment.h"
#include "hffs/guarded.h"
#include "hffs/scrub.h"
#include "index_writer.h"
#include "open_blobs.h"
#include "state_dir.h"
#include "verifier.h"

namespace hffs {

// How far the passes are: a row of table `meta`.
struct ScrubRow {
  std::uint64_t next = 0;    // number of the blob that comes next
  std::int64_t due = 0;      // … and when; seconds since 1970, as the others
  std::int64_t began = 0;    // this pass; 0: it has not
  std::int64_t ended = 0;    // the last whole pass
  std::uint64_t found = 0;   // wrong blobs, in all passes

  static ScrubRow load(const ReadTxn& txn);
  void store(WriteTxn& txn) const;
};

class Scrubber final : public Scrub {
 public:
  struct Parts {
    Disk& disk;
    const StateDir& directory;
    const Environment& environment;
    IndexWriter& index;
    OpenBlobs& blobs;
    Verifier& verifier;
    const Clock& clock;
  };
  Scrubber(Parts parts, ScrubOptions options);
  ~Scrubber() override { stop(); }

  std::unique_ptr<Verification> verify(
      std::optional<std::vector<std::uint64_t>> blobs) override;
  State state() const override;
  void stop();

  // One blob. Nothing: it is right, or not verified any more, or that was not found out for a stop.
  std::optional<Finding> check(const BlobInfo& blob, const std::stop_token& stop,
                               const std::function<void(std::uint64_t bytes)>& tell);

 private:
  struct Step {
    std::vector<BlobInfo> blobs;
    std::uint64_t bytes = 0, all_bytes = 0;
    bool last = false;  // of the pass
  };

  void run(const std::stop_token& stop);
  void do_step(ScrubRow& row, const std::stop_token& stop);
  Step find_step(std::uint64_t next) const;
  void wait_until(std::chrono::steady_clock::time_point when, const std::stop_token& stop);

  const Parts parts_;
  const ScrubOptions options_;
  mutable Guarded<std::deque<Finding>> recent_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace hffs
