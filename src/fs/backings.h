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

namespace hffs::fs {

class Backings {
 public:
  Backings(Keeper& keeper, Metrics& metrics) : keeper_(keeper), metrics_(metrics) {}

  // At INIT: what the kernel and the options allow.
  void decide(ReadMode mode) { *mode_.lock() = std::move(mode); }
  ReadMode mode() const { return *mode_.lock(); }

  // Notes an open of the node. The id to answer with; nothing: through the page cache.
  std::optional<std::int32_t> open(NodeId node, const BlobId& blob);
  void close(NodeId node);

 private:
  struct Open {
    std::optional<std::int32_t> id;
    std::uint32_t count = 0;
  };

  std::optional<std::int32_t> add(const BlobId& blob);

  Keeper& keeper_;
  Metrics& metrics_;
  mutable Guarded<ReadMode> mode_;
  Guarded<std::unordered_map<std::uint64_t, Open>> open_;  // by node id
};

}  // namespace hffs::fs
