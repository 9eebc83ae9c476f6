// SPDX-License-Identifier: Apache-2.0
//
// FrozenRefs: refs that read one commit whatever the Hub says, for one user or for everybody. A user's
// own goes before everybody's. While a ref is frozen the blobs of its commit are pinned.
//
// Threads: any. What has a Done answers on the store's index thread; the rest reads the index.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/store.h"

namespace hffs {

struct FrozenRef {
  RepoId repo;
  std::string revision;
  CommitId commit;
  std::optional<uid_t> user;  // none: everybody
  WallTime since{};
};

class FrozenRefs {
 public:
  FrozenRefs(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Instead of what it was frozen at. Code::no_space: the user has `most` already.
  void freeze(FrozenRef ref, std::size_t most, Done<void> done);
  // Code::not_found: it is not frozen for them.
  void thaw(const RepoId& repo, const std::string& revision, std::optional<uid_t> user,
            Done<void> done);
  std::vector<FrozenRef> list() const;

 private:
  Store& store_;
  const Clock& clock_;
};

// What the ref is frozen at for this user.
std::optional<CommitId> frozen_commit(const ReadTxn& txn, const RepoId& repo,
                                      std::string_view revision, uid_t user);
// Whether a ref below `directory` ("release" for "release/1") is frozen for this user.
bool has_frozen_below(const ReadTxn& txn, const RepoId& repo, std::string_view directory, uid_t user);
void visit_frozen_refs(const ReadTxn& txn, const std::function<void(const FrozenRef&)>& visit);

}  // namespace hffs
