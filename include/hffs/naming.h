// SPDX-License-Identifier: Apache-2.0
//
// The names that the Hub would give: a file's blob and a listing's commit, where nobody can be asked.
// The rules are in docs/SEMANTICS.md, "Taking along". Threads: any; they block on the file's disk.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "hffs/content_hash.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/ids.h"

namespace hffs {

using Counted = std::function<void(std::uint64_t bytes)>;

// The hash of a file's first `size` bytes. Code::corrupt if it has fewer, Code::cancelled on a stop.
Result<BlobId> hash_file(int fd, std::uint64_t size, BlobId::Kind kind, const std::stop_token& stop,
                         const Counted& counted);
// SHA-256 (an LFS file on the Hub) from 10 MiB on, or with a NUL in the first 8,000 bytes, git's sign
// of a binary file; else git's SHA-1.
Result<BlobId::Kind> kind_of_file(int fd, std::uint64_t size);
// git's SHA-1 of the lines "HASH SIZE PATH", sorted by path.
Result<CommitId> commit_of(std::vector<TreeEntry> files);

}  // namespace hffs
