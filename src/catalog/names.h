// SPDX-License-Identifier: Apache-2.0
//
// The fixed names of the layout, how long the kernel may believe what, and the small decisions that
// need neither index nor network. Threads: values and pure functions.
#pragma once

#include <string>
#include <string_view>

#include "hffs/catalog.h"

namespace hffs::catalog {

inline constexpr Ttl kNever{0};
// What cannot change (a node below the repository's gate, a name in a complete tree). Long rather
// than for ever: the kernel drops it under memory pressure anyway.
inline constexpr Ttl kImmutable{3'600'000};
// What changes while a blob fills (st_blocks).
inline constexpr Ttl kMoment{1'000};

// Marks the folder for backup tools; the signature is https://bford.info/cachedir/ .
inline constexpr std::string_view kCachedirTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This directory is a Hugging Face cache, served by hffs.\n";
// transformers 4.x: without it, it announces a migration of old caches.
inline constexpr std::string_view kVersionTxt = "1";

struct FixedName {
  std::string_view name;
  FixedNode node;
  FileKind kind;
};
inline constexpr FixedName kFixedNames[] = {
    {"CACHEDIR.TAG", FixedNode::cachedir_tag, FileKind::regular},
    {"version.txt", FixedNode::version_txt, FileKind::regular},
    {"hub", FixedNode::hub_link, FileKind::symlink},
    {".locks", FixedNode::locks, FileKind::directory},
    {".hffs", FixedNode::control_link, FileKind::symlink},
};

struct RepoChild {
  std::string_view name;
  NodeKind kind;
  bool listed;
};
inline constexpr RepoChild kRepoChildren[] = {
    {"blobs", NodeKind::blobs_root, true},    {"refs", NodeKind::refs_root, true},
    {"snapshots", NodeKind::snapshots, true}, {".no_exist", NodeKind::no_exist, false},
    {"trees", NodeKind::trees, false},
};

// Directories of refs that the Hub has by definition.
bool is_builtin_ref_directory(std::string_view path);

// Whether a missing path component reads like a directory: without a dot in its name.
bool reads_like_directory(std::string_view name);

// Target of the snapshot symlink `depth` directories below the snapshot, towards blob `hex`.
std::string pointer_target(std::uint32_t depth, std::string_view hex);
std::uint64_t pointer_size(std::uint32_t depth, std::uint32_t hex_length);

// A stable id for a path that a commit does not have.
NodeId absent_node(std::uint64_t commit, std::string_view path, bool directory);

// Lookups that failed because the Hub could not be asked, or did not like the question, look like absent names (never remembered):
// `pathlib.exists` and shells raise on EIO. The reason is logged where it happens.
Error as_lookup_error(Error error);

}  // namespace hffs::catalog
