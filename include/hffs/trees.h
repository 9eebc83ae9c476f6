// SPDX-License-Identifier: Apache-2.0
//
// Trees: whole commits, for who takes models along (carry.h). What the Hub says of a commit comes
// first; where it cannot be heard, or does not know the commit, a folder's own word stands in for
// it: the commit is *self-attested*, marked so in the index with the user who imported it, until
// the Hub lists it. Then the mark goes, and where the Hub's tree says otherwise it takes the
// folder's place.
//
// Self-attested names are shown to everybody who may see the mount: whoever lets a user import them
// decides for all. `importer` is what a verdict by user (access.h) can be made from.
//
// Threads: any. Calls with a Done answer now or later, on the network or a store thread, with no
// lock held, and never block on the network; self_attested() reads the index (local disk).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/ids.h"
#include "hffs/store.h"

namespace hffs {

struct TreeFile {
  std::string path;
  BlobInfo blob;
};

struct WholeTree {
  std::vector<TreeFile> files;
  bool self_attested = false;
};

// What a folder says of a commit.
struct Attestation {
  RepoId repo;
  CommitId commit;
  uid_t importer = 0;
  std::vector<TreeEntry> files;  // with their blobs
};

struct SelfAttested {
  RepoId repo;
  CommitId commit;
  uid_t importer = 0;
};

class Trees {
 public:
  virtual ~Trees() = default;

  // What the Hub says that the revision is, asked now; the index has it then.
  virtual void ask_revision(const RepoId& repo, const std::string& revision,
                            Done<CommitId> done) = 0;
  // When the Hub said last what a revision means; nothing: not to this process, or only a folder says it.
  virtual std::optional<WallTime> confirmed(const RepoId& repo, const std::string& revision) = 0;
  // The whole tree of a commit as the Hub lists it, from the index where it has that already.
  // Fails where the Hub does not know the commit or cannot be heard; a folder's word is never
  // the answer.
  virtual void ask_tree(const RepoId& repo, const CommitId& commit, Done<WholeTree> done) = 0;
  // Adds what a folder says to what other folders said of the commit; where they contradict each
  // other the later one holds. What the Hub said stays as it is. Answers with the tree as it is now.
  virtual void attest(Attestation said, Done<WholeTree> done) = 0;
  // Makes a revision of the repository mean an attested commit, unless the Hub has said what it
  // means. True: it means that commit now.
  virtual void attest_ref(const RepoId& repo, const std::string& revision, const CommitId& commit,
                          Done<bool> done) = 0;
  // At most `most` of the commits that the Hub has not confirmed.
  virtual std::vector<SelfAttested> self_attested(std::size_t most) const = 0;
};

}  // namespace hffs
