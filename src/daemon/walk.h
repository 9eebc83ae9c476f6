// SPDX-License-Identifier: Apache-2.0
//
// A walk through the published tree as a client would make it, name by name from the root. Threads:
// any; the walk goes on where the catalog answers, and keeps the catalog.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "hffs/catalog.h"

namespace hffs {

void walk(std::shared_ptr<Catalog> catalog, const Caller& caller, std::deque<std::string> names,
          Done<NodeId> done);

// The commit that a revision means: itself, if it is one and the Hub has it.
void find_commit(std::shared_ptr<Catalog> catalog, const Caller& caller, const RepoId& repo,
                 const std::string& revision, Done<CommitId> done);

}  // namespace hffs
