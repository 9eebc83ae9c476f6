// SPDX-License-Identifier: Apache-2.0
//
// Whether a store may be kept in a state directory: what opening one would refuse, found out by looking alone. Threads: any;
// blocks on the disk.
#pragma once

#include <string>

#include "hffs/error.h"

namespace hffs {

// Nothing is made, and no lock is taken: a store that is in use is fine. Errors: denied (it cannot be made, or written),
// not_directory, unsupported (a network file system; the store of a newer hffs); each message says what to do.
Result<void> check_state_dir(const std::string& state_dir);

}  // namespace hffs
