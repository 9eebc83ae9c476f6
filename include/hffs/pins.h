// SPDX-License-Identifier: Apache-2.0
//
// Pins: repositories and commits whose blobs are never evicted, and the blobs that a repository or
// its refs have: what the store, which knows no repository, is told when it must make room.
//
// A pin is a name: it holds for what the repository or commit has when somebody asks, with blobs that
// are not here yet.
//
// Threads: any. What has a Done answers on the store's index thread; the rest reads the index.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/store.h"

namespace hffs {

struct Pin {
  RepoId repo;
  std::optional<CommitId> commit;  // none: all of the repository
  WallTime since{};
};

std::vector<Pin> load_pins(const ReadTxn& txn);  // by repository

class Pins {
 public:
  Pins(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Pinning what is pinned is fine.
  void add(const RepoId& repo, const std::optional<CommitId>& commit, Done<void> done);
  // Without a commit: all pins of the repository. Code::not_found: there was none.
  void remove(const RepoId& repo, const std::optional<CommitId>& commit, Done<void> done);
  std::vector<Pin> list() const;

  // Blobs that the repository has, in this commit or in any that is known.
  std::vector<std::uint64_t> blobs_of(const RepoId& repo,
                                      const std::optional<CommitId>& commit) const;
  // Of these, or of all repositories, those that are in no commit that a ref names.
  std::vector<std::uint64_t> unreferenced(const std::optional<RepoId>& repo) const;

 private:
  Store& store_;
  const Clock& clock_;
};

// For Bounds::protect(): what is pinned, the commits of frozen refs (frozen_refs.h), and what commits
// that somebody imported (trees.h) alone name, which no Hub and no folder is known to have. A blob may be
// visited more than once.
void visit_staying_blobs(const ReadTxn& txn, const Bounds::Visit& visit);

}  // namespace hffs
