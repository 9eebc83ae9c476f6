// SPDX-License-Identifier: Apache-2.0
//
// May something be mounted here? Threads: any; blocks on the local disk.
#pragma once

#include <string>

#include "hffs/error.h"

namespace hffs {

// The real path of a directory that is free to be mounted on. A dead mount of ours is taken away
// first. Errors: keeper.h, Keeper::mount.
Result<std::string> prepare_mount_point(const std::string& path);

// Whether this process may call mount(2) by itself.
bool may_mount();

// umount2(2), or fusermount3 where we may not.
Result<void> detach(const std::string& real_path, bool lazy);

}  // namespace hffs
