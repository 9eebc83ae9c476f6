// SPDX-License-Identifier: Apache-2.0
//
// The plan of an import: whose word holds for each commit, and which files the store lacks. What
// the index must know (trees, refs) it knows when the plan is made.
// Threads: one; it waits for the Hub, and blocks on the folder's disk.
#pragma once

#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "hffs/carry.h"
#include "hffs/layout.h"
#include "hffs/naming.h"
#include "hffs/store.h"
#include "hffs/trees.h"

namespace hffs::carry {

// A file whose bytes the store wants.
struct Take {
  std::string place;
  BlobInfo blob;
  std::size_t commit = 0;  // in the report
};

class Planner {
 public:
  Planner(const ImportRequest& request, Trees& trees, const Store& store, std::stop_token stop,
          Counted hashed)
      : request_(request),
        trees_(trees),
        store_(store),
        stop_(std::move(stop)),
        hashed_(std::move(hashed)) {}

  Result<std::vector<Take>> plan(Found& found, ImportReport& report);

 private:
  Result<void> plan_commit(Found& found, const RepoId& repo, FoundCommit& commit);
  Result<WholeTree> ask(const RepoId& repo, FoundCommit& commit);
  Result<WholeTree> attest(const Found& found, const RepoId& repo, FoundCommit& commit);
  Result<BlobId> name(const Folder& folder, const FoundFile& file);
  Result<void> choose(const Folder& folder, const FoundCommit& commit, const WholeTree& tree);
  Result<bool> is_same(const Folder& folder, const FoundFile& file, const BlobInfo& blob);
  Result<void> set_ref(const RepoId& repo, const FoundRef& ref);
  void skip(const FoundFile& file, Skip why, std::string reason);

  const ImportRequest& request_;
  Trees& trees_;
  const Store& store_;
  const std::stop_token stop_;
  const Counted hashed_;
  ImportReport* report_ = nullptr;
  std::vector<Take> takes_;
  std::set<std::uint64_t> planned_;  // blobs
  std::set<std::string> compared_;   // blobs of the folder, by their links' hash
};

}  // namespace hffs::carry
