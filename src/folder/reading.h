// SPDX-License-Identifier: Apache-2.0
//
// What an origin reads out of a folder. Everything here blocks on the folder's file system, for as long
// as that likes: it runs on IoThreads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hffs/folder.h"
#include "hffs/hub.h"
#include "hffs/layout.h"
#include "io_threads.h"

namespace hffs::folder {

// Whether the folder answers, can be read, and has a model. The error says what to do.
Result<void> look_at(const std::string& path, const Io& io);
// Why it cannot be opened, in a sentence for people.
Error explain(const std::string& path, Error error);

// A commit as it lies there. Of a plain folder the id is not known before its files have names.
struct Listing {
  FoundCommit commit;
  bool plain = false;
};
// What a revision is. Nothing: it is a plain folder, whose one commit must be made from list_plain().
Result<std::optional<RepoInfo>> read_revision(const Folder& folder, const RepoId& repo,
                                              const std::string& revision);
Result<Listing> list_commit(Folder folder, const RepoId& repo, const std::optional<CommitId>& commit);
Result<RefList> list_refs(Folder folder, const RepoId& repo);

// An open file that may be the wanted one.
struct Candidate {
  std::string place;
  UniqueFd fd;
  Stamp stamp;
  bool named = false;  // the folder says that it has the hash; else its bytes must
};
// Code::not_found: the folder has no file of that size there.
Result<Candidate> find_content(const Folder& folder, const FileSource& file);

// The name of a file's content; Code::unreachable if the file is not, or does not stay, what the stamp
// says.
Result<BlobId> name_content(const Folder& folder, const std::string& place, const Stamp& stamp,
                            const Io& io);

}  // namespace hffs::folder
