// SPDX-License-Identifier: Apache-2.0
//
// BlobReader: opens blobs and reads them, waiting for bytes that are not here without holding a
// thread.
//
// A blob that is open is kept by its node id, so that a filling blob is read to its end through the old
// node after it was verified under a new one. Where its bytes turned out wrong, who has it open goes on
// with the next incarnation. When strict, a read of a blob that is not whole fetches all of it
// and waits for the verdict.
//
// Threads: any. Calls may block on the local disk, never on the network.
#pragma once

#include <memory>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <unordered_map>
#include <vector>

#include "hffs/filesystem.h"

namespace hffs::fs {

class BlobReader {
 public:
  BlobReader(const FileSystemOptions& options, Catalog& catalog, Store& store,
             TransferEngine& transfer, Prefetcher& prefetcher, Metrics& metrics)
      : options_(options),
        catalog_(catalog),
        store_(store),
        transfer_(transfer),
        prefetcher_(prefetcher),
        metrics_(metrics) {}

  // stale: the node is an old incarnation. offline: not wholly here, and it cannot be fetched.
  Result<Opened> open(const Caller& caller, NodeId node);
  void close(NodeId node);
  // Opened so often in an earlier process: whichever incarnation is there now goes on.
  void reopen(NodeId node, std::uint32_t count);
  // The caller's right makes his token known, where the bytes are not here and not public. over_quota, or denied: they
  // would have to be fetched for him.
  void read(const Caller& caller, NodeId node, ByteRange range, std::stop_token stop,
            Done<std::vector<std::byte>> done);

 private:
  struct Open {
    std::shared_ptr<Blob> blob;
    std::uint32_t count = 0;
  };
  struct Wait;
  // Sent to look the name up again.
  struct Refused {
    NodeId node;
    Instant when{};
  };
  // Who has waited out the deadline, and for which bytes.
  struct GivenUp {
    NodeId node;
    pid_t pid = 0;
    ByteRange range;
    Instant when{};
    Error error;
  };

  bool servable(const Blob& blob, ByteRange range) const;
  bool may_fetch(const Caller& caller) const;
  void note_given_up(const Wait& wait, const Error& error);
  std::optional<Error> given_up(const Caller& caller, NodeId node, ByteRange range);
  Result<std::shared_ptr<Charge>> charge(const Caller& caller, const Blob& blob, ByteRange range) const;
  void await_verdict(std::shared_ptr<Wait> wait);
  Result<std::shared_ptr<Blob>> open_now(NodeId node);
  bool was_sent_here(NodeId node);
  Result<std::shared_ptr<Blob>> find(NodeId node);
  Result<std::shared_ptr<Blob>> renew(NodeId node);
  void go_on(std::shared_ptr<Wait> wait);
  void arrived(std::shared_ptr<Wait> wait, Result<void> fetched);
  void finish(const std::shared_ptr<Wait>& wait, Result<void> ready);

  const FileSystemOptions& options_;
  Catalog& catalog_;
  Store& store_;
  TransferEngine& transfer_;
  Prefetcher& prefetcher_;
  Metrics& metrics_;
  std::shared_mutex mutex_;
  std::unordered_map<std::uint64_t, Open> open_;        // by node id
  std::unordered_map<std::uint64_t, Refused> refused_;  // by blob number; of the last moment
  std::vector<GivenUp> given_up_;                       // of the last moment
};

}  // namespace hffs::fs
