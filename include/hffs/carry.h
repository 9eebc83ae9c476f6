// SPDX-License-Identifier: Apache-2.0
//
// Carry: models taken along. An *import* brings what lies in a folder (a Hugging Face cache in any of
// its layouts, or a plain folder of a model) into the store; an *export* writes an ordinary cache
// folder that needs no hffs. What may join the store, and as what: docs/SEMANTICS.md, "Taking
// along".
//
// Threads: an Importer works on a thread of its own; its calls may come from any. export_snapshot()
// works on the caller's, and blocks for as long as it takes.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/globs.h"
#include "hffs/folder.h"
#include "hffs/ids.h"
#include "hffs/layout.h"
#include "hffs/posix.h"
#include "hffs/store.h"
#include "hffs/trees.h"

namespace hffs {

struct CarryProgress {
  std::string doing;  // "reading the folder", …
  std::uint64_t files_done = 0, files = 0;
  std::uint64_t bytes_done = 0, bytes = 0;
};

struct ImportRequest {
  std::string path;  // absolute: a cache, one repository's folder in it, or a plain folder
  // Opens it, on the import's thread: with the rights of who may read it (lending.h), which need not be ours.
  std::move_only_function<Result<OpenedFolder>(std::stop_token)> open;
  std::optional<RepoId> repo;     // of a plain folder
  std::string revision = "main";  // of a plain folder: a branch, or a whole commit
  uid_t importer = 0;
  // Only what the Hub lists: no commit becomes self-attested.
  bool confirmed_only = false;
  // Reads and hashes also what the store has already: the folder is going to be given up.
  bool compare = false;
  // Not empty: the repository's folder must be this directory (st_dev, st_ino), for its owner may put
  // another in its place.
  std::optional<std::pair<dev_t, ino_t>> identity;
};

struct ImportedCommit {
  RepoId repo;
  CommitId commit;
  bool self_attested = false;
  std::string reason;  // why the Hub's tree was not to be had
  std::uint64_t files = 0, bytes = 0;                  // in its tree
  std::uint64_t taken_files = 0, taken_bytes = 0;      // now
  std::uint64_t present_files = 0, present_bytes = 0;  // in the store already
};

struct ImportReport {
  std::vector<ImportedCommit> commits;
  std::vector<Skipped> skipped;
  std::vector<std::string> remarks;
};

// One import. The destructor stops it: what was not taken yet is left out, and nothing half taken
// stays. Only one at a time for a store.
class Importer {
 public:
  static Result<std::unique_ptr<Importer>> start(ImportRequest request, Trees& trees, Store& store,
                                                 Disk& disk);
  virtual ~Importer() = default;
  virtual CarryProgress progress() const = 0;
  // Nothing while it works. Fails where nothing could be read, or the store takes no more.
  virtual std::optional<Result<ImportReport>> result() const = 0;
};

struct ExportRequest {
  std::string snapshot;  // a commit's directory in a mount: …/models--ORG--NAME/snapshots/COMMIT
  std::string revision;  // the ref to write; empty: none
  std::string directory;
  bool flat = false;  // just the files
  Globs files;
};

struct ExportReport {
  std::string path;  // the snapshot's directory in the folder that was written
  std::uint64_t written_files = 0, written_bytes = 0;
  std::uint64_t present_files = 0, present_bytes = 0;  // there already, with the right bytes
  std::vector<Skipped> failed;
};

// Each file is whole and has the hash of its name, or is not there. Fails where nothing could be
// written at all; a file that could not be had is in the report. `tell` hears now and then.
Result<ExportReport> export_snapshot(const ExportRequest& request, Disk& disk,
                                     const std::function<void(const CarryProgress&)>& tell);

}  // namespace hffs
