// SPDX-License-Identifier: Apache-2.0
//
// Versions: what the index knows of repositories and their commits, for people who ask which are
// here (`hffs ls`), what a program has read (`hffs lock`), and whether that is still so (`hffs
// check`). It asks nobody.
//
// Threads: any; it reads the index (local disk).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/ids.h"
#include "hffs/store.h"
#include "hffs/trees.h"

namespace hffs {

struct KnownCommit {
  CommitId commit;
  std::vector<std::string> refs;  // that mean it
  bool whole_tree = false;        // else the numbers are of the files that are known
  bool self_attested = false, pinned = false;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0, bytes_here = 0;  // each content once
  std::optional<WallTime> last_used;        // when a file of it was open last
};

struct KnownRef {
  std::string revision;
  CommitId commit;
  WallTime since{};  // when this value was first seen
};

struct KnownRepo {
  RepoId repo;
  bool pinned = false;
  std::vector<KnownRef> refs;
  std::vector<KnownCommit> commits;
};

// What somebody did in a mount, as the file system sees it.
struct Walk {
  std::set<std::uint32_t> repos;  // numbers of those that were walked through
  std::set<std::pair<NodeId, std::string>> refs;  // that were read, and what they said
  // Names of commits that were looked up: the directory, the name in it, and the node (a frozen ref,
  // or the link snapshots/REVISION), which stands for the commit.
  std::set<std::tuple<NodeId, std::string, NodeId>> names;
  std::set<std::uint64_t> blobs;  // numbers of those that were opened
};

struct ReadCommit {
  RepoId repo;
  CommitId commit;
  std::set<std::string> revisions;
  std::vector<TreeFile> files;  // by path
};

class Versions {
 public:
  explicit Versions(Store& store) : store_(store) {}

  struct Page {
    std::vector<KnownRepo> repos;
    std::optional<std::uint32_t> next;  // where the list goes on; none: at its end
  };
  // Repositories behind `after` (0: from the start), as many as are told of in a moment.
  Page list(std::uint32_t after) const;
  struct Names {
    std::vector<RepoId> repos;
    std::optional<std::uint32_t> next;
  };
  // Their names alone, thousands at a time.
  Names names(std::uint32_t after) const;
  // One of them; none: it is not known here.
  std::optional<KnownRepo> find(const RepoId& repo) const;
  // What a ref reads, as of the last time that the Hub said so.
  std::optional<KnownRef> find_ref(const RepoId& repo, const std::string& revision) const;
  // The files that are known of a commit, by path. Code::not_found: the index has no such commit.
  Result<WholeTree> tree(const RepoId& repo, const CommitId& commit) const;

  // Which files of which commits a walk has opened. One content may be many files: those of the
  // commits whose refs were read count, each of them; else those of the commit, of the
  // repositories that were walked through, that explains most, a newer one before an older. Of the
  // places of a content in one commit the first is told.
  // … of repositories that who asks may see.
  std::vector<ReadCommit> explain(const Walk& walk,
                                  const std::function<bool(const RepoId&)>& sees) const;

 private:
  Store& store_;
};

}  // namespace hffs
