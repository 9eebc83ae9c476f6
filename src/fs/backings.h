// SPDX-License-Identifier: Apache-2.0
//
// Backings: which open nodes the kernel reads by itself, and whether it may at all. The kernel wants one
// mode and one backing file for a node as long as anybody has it open: the first open decides.
//
// Threads: any. open() may block on the local disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "hffs/filesystem.h"
#include "hffs/guarded.h"
#include "hffs/handover.h"

namespace hffs::fs {

class Backings {
 public:
  Backings(Keeper& keeper, Handover& handover, Metrics& metrics)
      : keeper_(keeper), handover_(handover), metrics_(metrics) {}

  // At INIT: what the kernel and the options allow.
  void decide(ReadMode mode) { *mode_.lock() = std::move(mode); }
  ReadMode mode() const { return *mode_.lock(); }

  // Notes an open of a blob's or the overlay's node, by this thread's request. The id to answer with;
  // nothing: through the page cache, as without a `blob` that is worth handing over.
  std::optional<std::int32_t> open(NodeId node, const std::optional<BlobId>& blob);
  void close(NodeId node);
  // What an earlier worker had noted.
  void reopen(std::uint32_t row, const Handover::OpenNode& was);

 private:
  struct Open {
    std::optional<std::int32_t> id;
    std::uint32_t count = 0;
    std::optional<std::uint32_t> row;  // in the handover
  };

  std::optional<std::int32_t> add(const BlobId& blob);
  void end(const Open& open);

  Keeper& keeper_;
  Handover& handover_;
  Metrics& metrics_;
  mutable Guarded<ReadMode> mode_;
  Guarded<std::unordered_map<std::uint64_t, Open>> open_;  // by node id
};

}  // namespace hffs::fs
