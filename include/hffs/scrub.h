// SPDX-License-Identifier: Apache-2.0
//
// Scrub: verified blobs read and hashed again, since disks rot and cables lie: on demand as fast as
// it goes, and all of them in turn behind everything else, once in a while.
//
// A blob whose bytes are wrong is quarantined as one that was filled with wrong bytes: its next
// incarnation begins empty, and no later open gets these bytes. Who has it open through the kernel's
// passthrough goes on reading them. What the disk cannot read stays as it is, and is reported.
//
// Threads: any may call; nothing blocks but state(), which reads the index. The work is done on
// threads of its own, which are nice and idle to the disk, and leave the page cache as it was.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hffs/blob.h"
#include "hffs/clock.h"
#include "hffs/error.h"

namespace hffs {

struct ScrubOptions {
  std::chrono::seconds period{0};  // within which every blob is hashed once; 0: never
};

// A blob that is not what it was.
struct Finding {
  enum class What : std::uint8_t { wrong_bytes, missing, unreadable };
  BlobInfo blob;  // the incarnation that was looked at
  What what = What::wrong_bytes;
  std::string found;   // the hash of its bytes; empty unless wrong_bytes
  std::string reason;  // a sentence for people
  WallTime when{};
};
std::string_view name_of(Finding::What what);

// Blobs that are being hashed again. The destructor stops it.
class Verification {
 public:
  virtual ~Verification() = default;
  struct Progress {
    std::uint64_t files_done = 0, files = 0;
    std::uint64_t bytes_done = 0, bytes = 0;
  };
  virtual Progress progress() const = 0;
  // Nothing while it works.
  virtual std::optional<std::vector<Finding>> result() const = 0;
};

class Scrub {
 public:
  virtual ~Scrub() = default;

  // Hashes those of these blobs that are verified, or all. Must end before the store does.
  virtual std::unique_ptr<Verification> verify(std::optional<std::vector<std::uint64_t>> blobs) = 0;

  struct State {
    std::chrono::seconds period{0};
    std::uint64_t done_bytes = 0, bytes = 0;  // of this pass, of all verified blobs
    WallTime began{};                         // this pass; the epoch: not yet
    WallTime ended{};                         // the last whole pass; the epoch: none yet
    std::uint64_t found = 0;                  // blobs that passes found to be wrong, ever
    std::vector<Finding> recent;              // since the start, the newest first, at most 20
  };
  virtual State state() const = 0;
};

}  // namespace hffs
