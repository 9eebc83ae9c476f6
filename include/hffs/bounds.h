// SPDX-License-Identifier: Apache-2.0
//
// Bounds: how much a store may hold, and what goes when that is reached: whole blobs, those first
// that were open longest ago, never one that is open or pinned or can be had nowhere else. Where
// nothing may go, new blocks are not kept (Code::no_space), and readers are served all the same.
//
// Threads: any; nothing blocks, but state(), which reads the index. Completions and `staying` run on
// the store's eviction thread with no lock held.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "hffs/clock.h"
#include "hffs/error.h"

namespace hffs {

class ReadTxn;

struct Limits {
  std::uint64_t max_size = 0;  // bytes of blocks that the store may hold; 0: no limit
  // Bytes of its file system that it leaves free; nullopt: default_min_free().
  std::optional<std::uint64_t> min_free = 0;
};

// The larger of 10 % of the file system and 20 GiB, but at most half of what the store can have
// there: what it holds, and what is free now. So a small or a well filled disk still caches.
std::uint64_t default_min_free(std::uint64_t file_system_bytes, std::uint64_t available);

// "500G", "1.5T", "64 MiB", "1048576": K, M, G, T, P with or without "iB" are powers of 1,024; "KB"
// and its kin those of 1,000. Code::invalid.
Result<std::uint64_t> parse_size(std::string_view text);

class Bounds {
 public:
  virtual ~Bounds() = default;

  // Why a blob must stay: it is pinned, or nobody has it whom it could be fetched from.
  enum class Stay : std::uint8_t { pinned, only_copy };
  // Names the blobs (by number) that must stay. Set once, before anything can be evicted: until
  // then nothing is.
  using Visit = std::function<void(std::uint64_t number, Stay why)>;
  virtual void protect(std::function<void(const ReadTxn&, const Visit&)> staying) = 0;

  // Called on the eviction thread for each blob that went, with the incarnation that ended. Set once,
  // before use.
  virtual void on_evicted(
      std::function<void(std::uint64_t number, std::uint32_t incarnation)> listener) = 0;

  struct Order {
    std::vector<std::uint64_t> blobs;  // go, though the limits would let them stay
    bool only_copies = false;          // … and though nobody else has them
    bool dry_run = false;
  };
  struct Outcome {
    std::vector<std::uint64_t> blobs;  // that went, or would go
    std::uint64_t bytes = 0;
    std::uint64_t open_bytes = 0, pinned_bytes = 0, only_copy_bytes = 0;  // of Order::blobs, and stay
    std::uint64_t over_bytes = 0;  // above a limit, and nothing may go
  };
  // What is ordered goes, and then what the limits demand.
  virtual void evict(Order order, Done<Outcome> done) = 0;

  // Until so many bytes more fit on the disk, for what is put there before it is a blob. Blocks while
  // others go for it: not on the index thread. Code::no_space: they do not.
  virtual Result<void> await_room(std::uint64_t bytes) = 0;

  struct State {
    std::uint64_t max_size = 0, min_free = 0;
    std::uint64_t used = 0;      // bytes of blocks, with what is just being written
    std::uint64_t pinned = 0, only_copies = 0;  // of these
    std::uint64_t unlinked = 0;  // beside these: in files that have no name any more and are still open
  };
  virtual State state() const = 0;
  // When the blob was open last; nothing: never. Reads the index.
  virtual std::optional<WallTime> last_open(std::uint64_t number) const = 0;
};

}  // namespace hffs
