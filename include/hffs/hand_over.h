// SPDX-License-Identifier: Apache-2.0
//
// The hand-over of a store's directory from one user to another, by root. No link is followed, and nothing is left behind
// that is mounted in it or has a name elsewhere, too: that stays as it is, and the log says so.
// Threads: any; blocks on the disk for as long as the store has files.
#pragma once

#include <sys/types.h>

#include <string>

#include "hffs/error.h"

namespace hffs {

// All that lies in the store of `state_dir`, and last of all its directory: as long as that is `from`'s the next one does
// what this one did not come to. Nothing is done where it is another's. busy: somebody has the store.
Result<void> hand_over_store(const std::string& state_dir, uid_t from, uid_t to, gid_t group);

}  // namespace hffs
