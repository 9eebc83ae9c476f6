// SPDX-License-Identifier: Apache-2.0
//
// What clients may make where, and who is asked first for a name: docs/SEMANTICS.md, "Writes", as
// tables. Threads: pure functions, any thread.
#pragma once

#include <string_view>

#include "hffs/catalog.h"

namespace hffs::fs {

// What a directory of the overlay lies in.
enum class Territory : std::uint8_t {
  ordinary,  // an ordinary file system of one user
  refs,      // below refs: what is written there is never read
};
Territory territory_of(NodeId published_directory);

enum class Rule : std::uint8_t {
  refused,   // EPERM
  own,       // becomes the caller's own node
  absorbed,  // accepted, and never read: the Hub is asked for the ref
  blob,      // a move onto a blob's name: if the bytes are right
};
enum class Making : std::uint8_t { file, directory, link };

Rule may_make(NodeId published_directory, std::string_view name, Making what);
Rule may_make(Territory territory, std::string_view name, Making what);
Rule may_move_to(NodeId published_directory, std::string_view name, Making what);

// Where a name in a published directory is looked for.
enum class Sight : std::uint8_t {
  published,
  overlay,
  overlay_first,
  published_first,  // a repository, too: a copy that a client made while the Hub was away gives way
};
Sight sight_of(NodeId published_directory, std::string_view name);
// Whether a user's own names may lie in it.
bool may_hold_overlay(NodeId published_directory);

}  // namespace hffs::fs
