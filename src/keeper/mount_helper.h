// SPDX-License-Identifier: Apache-2.0
//
// fusermount3, the setuid program that mounts and unmounts for those who may not. Threads: any;
// both calls block until it has ended.
#pragma once

#include <string>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs {

// The connected /dev/fuse descriptor that it opened and mounted with `options`.
Result<UniqueFd> fusermount(const std::string& mount_point, const std::string& options);
Result<void> fusermount_unmount(const std::string& mount_point, bool lazy);

}  // namespace hffs
