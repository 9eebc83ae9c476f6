// SPDX-License-Identifier: Apache-2.0
//
// What the prefetcher hears, and what it keeps of files and snapshots. Threads: events are values;
// the records are of the prefetcher's thread.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "burst.h"
#include "file_plan.h"
#include "hffs/prefetch.h"

namespace hffs::prefetch {

// What happened, in the order in which it did.
struct Opened {
  std::shared_ptr<Blob> blob;
  uid_t user = 0;
};
struct Read {
  std::shared_ptr<Blob> blob;
  ByteRange range;
  uid_t user = 0;
};
struct Fetched {
  std::uint64_t number = 0;
  std::uint32_t incarnation = 0;
  BlockRun run;
  bool came = false;
  std::shared_ptr<Charge> charge;
};
using Event = std::variant<Opened, Read, Fetched>;

// One snapshot of which somebody reads.
struct Group {
  Instant last_read{};
  uid_t reader = 0;  // the last one; he pays
  std::vector<std::uint64_t> files;  // blob numbers of those being filled
  Burst burst;
  bool whole = false;  // everything of it was asked for
};

struct File {
  // Held while it is handled and while bytes of it are under way: what nobody has open may be evicted.
  std::shared_ptr<Blob> blob;
  std::weak_ptr<Blob> known;
  std::uint32_t incarnation = 0;
  std::vector<FileSource> sources;
  FilePlan plan;
  std::shared_ptr<Group> group;
  std::uint64_t in_flight = 0;  // bytes
  int looks = 0;
  bool next_asked = false;
  bool burst_follows = false;  // when its first bytes are here
  Instant paused_until{};
  std::chrono::seconds pause{0};  // the last one
};

}  // namespace hffs::prefetch
