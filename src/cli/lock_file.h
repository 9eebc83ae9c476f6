// SPDX-License-Identifier: Apache-2.0
//
// A lock file: what a program has read. JSON, sorted, without a date, so that the same reading makes the
// same file:
//   {"hffs_lock": 1, "repos": [{"repo", "commit", "refs": […], "files": [{"path", "size", "hash"}]}]}
// hash: 64 hex digits are a SHA-256, 40 a git blob SHA-1, as blobs are named in the cache layout. refs:
// those that were read, and meant the commit. Threads: main only; blocks on the disk.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "hffs/error.h"

namespace hffs::cli {

// Whole, by a rename; "-": to standard output.
Result<void> write_lock_file(const nlohmann::json& repos, const std::string& path);
// The repos, each of them sound. Code::invalid says what is wrong with the file.
Result<nlohmann::json> load_lock_file(const std::string& path);

}  // namespace hffs::cli
