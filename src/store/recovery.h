// SPDX-License-Identifier: Apache-2.0
//
// What a store does before its threads start: counts what the index has, removes files that nothing
// in it claims and those of evictions that a stop has cut short, and finds the blobs that were filled
// but not verified. Its cost is one pass over the rows of the blobs and one over filling/; no data
// file is read, and those in blobs/ are not even looked at (lost_index.h does, after a kill).
//
// Threads: the one that opens the store. Blocks on the disk.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "environment.h"
#include "hffs/error.h"
#include "hffs/posix.h"
#include "state_dir.h"
#include "usage_counters.h"

namespace hffs {

struct Recovered {
  UsageDelta totals;
  std::vector<std::uint64_t> unverified;       // every block is claimed, the verdict is missing
  std::vector<std::uint64_t> held;             // all others that have bytes here
  std::unordered_set<std::uint64_t> claiming;  // filling blobs with a claimed block
  std::uint64_t swept = 0;                     // files removed
  std::int64_t last_open = 0;                  // of any blob
};

Result<Recovered> recover(Environment& environment, const StateDir& directory, Disk& disk);

}  // namespace hffs
