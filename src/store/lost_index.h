// SPDX-License-Identifier: Apache-2.0
//
// An index that is damaged or gone. What is left of it is moved aside, never removed; a new one begins with
// what needs no other witness: a row for each file in blobs/, whose name is its hash. It counts as verified
// when it has been hashed again. Everything here may be stopped at any instant and is done again.
//
// Threads: the one that opens the store, before the index is open or used. Blocks on the disk.
#pragma once

#include <string>
#include <vector>

#include "environment.h"
#include "hffs/error.h"
#include "hffs/posix.h"
#include "index_check.h"
#include "state_dir.h"

namespace hffs {

struct LostIndex {
  bool rebuild = false;          // a new index is to be filled
  std::vector<SavedRow> saved;   // for it
  bool unclean = false;          // the store was not closed
};

// Looks at the index, and puts it aside if it cannot be used. A clean stop lets a large one pass.
Result<LostIndex> look_at_index(const StateDir& directory, Disk& disk);
// Fills the new index.
Result<void> rebuild_index(const StateDir& directory, Disk& disk, Environment& environment,
                           const LostIndex& lost);
// After a stop that was not clean, or left files of evicted blobs: a file that has its name in blobs/ and no verdict in
// the index is claimed, so that its bytes are counted. It is hashed again, too.
void claim_placed_files(const StateDir& directory, Environment& environment, const LostIndex& lost);

// From now on until the clean stop, a start looks at all of the index.
void note_in_use(const StateDir& directory, Disk& disk);
void note_clean_stop(const StateDir& directory, Disk& disk);

// A line for people about each index that was put aside and is still there.
std::vector<std::string> damages(const StateDir& directory);

}  // namespace hffs
