// SPDX-License-Identifier: Apache-2.0
//
// Where a daemon keeps its own, and what its process may do: beside what daemon.h says of it. Threads: any; pure.
#pragma once

#include <string>
#include <vector>

#include "hffs/daemon.h"
#include "hffs/keeper.h"

namespace hffs {

// The store's directory below a state directory.
std::string store_directory(const std::string& state_dir);
// Which index lies there; all 0 if none does.
Handover::Index index_of(const std::string& state_dir);
// What is read anew for each connection, and may have been replaced since the rules of this process were made.
std::vector<std::string> files_of_each_connection(const Config& config);
// Each open blob is a descriptor, for all users together; the usual soft limit is 1,024.
void raise_descriptor_limit();

}  // namespace hffs
