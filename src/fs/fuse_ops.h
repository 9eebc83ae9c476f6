// SPDX-License-Identifier: Apache-2.0
//
// The FUSE operations as libfuse calls them. Each finds its Session behind the request.
#pragma once

#include "fuse_api.h"

namespace hffs::fs {

// Left out on purpose, so that the kernel stops asking: access (modes are for show), flush, extended
// attributes, lseek (nothing here is a hole), locks (the kernel's own work between the users of one node),
// readdirplus, fallocate, copy_file_range, forget (node ids are structural).
const fuse_lowlevel_ops& fuse_operations();

}  // namespace hffs::fs
