// SPDX-License-Identifier: Apache-2.0
//
// A file read and hashed behind everybody's back: what was not in the page cache before is not there
// afterwards. Threads: the caller's, which blocks on the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/posix.h"

namespace hffs {

// The hash that a blob of the file's bytes has. `tell` hears of each piece, and may wait.
// Code::cancelled on a stop.
Result<std::string> rehash(Disk& disk, const std::string& path, BlobId::Kind kind,
                           const std::stop_token& stop,
                           const std::function<void(std::uint64_t bytes)>& tell);

// What is read of the file next comes from the disk, as far as nobody has it mapped.
void forget_pages(Disk& disk, const std::string& path);

// This thread comes after all others, at the processors and at the disk.
void stand_back();

}  // namespace hffs
