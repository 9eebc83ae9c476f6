// SPDX-License-Identifier: Apache-2.0
//
// What lies in a folder, by the layouts that there are of a Hugging Face cache:
// - snapshots/COMMIT/PATH links to blobs/HASH;
// - blobs/HASH links on, to blobs/HH/XETHASH of the whole cache (huggingface_hub 1.32 and later);
// - where links are not possible (Windows) snapshots hold the files themselves;
// - trees/COMMIT.json has the commit's listing (huggingface_hub 2 and later).
// Nothing is believed: names are checked, and bytes are hashed later.
// Threads: pure functions of the file system; they block on it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hffs/folder.h"
#include "hffs/hub.h"
#include "hffs/ids.h"

namespace hffs {

struct FoundFile {
  std::string path;            // in the repository
  std::string place;           // in the folder
  std::uint64_t size = 0;
  Stamp stamp{};
  std::optional<BlobId> blob;  // what its link says that it is
};
struct FoundCommit {
  std::optional<CommitId> id;  // a plain folder does not know
  std::vector<FoundFile> files;
  std::vector<TreeEntry> listing;  // what the folder knows of the tree beyond its files
};
struct FoundRef {
  std::string revision;
  CommitId commit;
};
struct FoundRepo {
  RepoId id;
  std::vector<FoundRef> refs;
  std::vector<FoundCommit> commits;
};
struct Found {
  Folder folder;
  std::vector<FoundRepo> repos;
  std::vector<Skipped> skipped;
};

// The files whose content only their bytes can tell: neither a link nor the listing names it.
std::vector<FoundFile*> unnamed(FoundCommit& commit);
// The folder's word: its listing, and what lies in it. Files that have no name are left out.
std::vector<TreeEntry> entries_of(const FoundCommit& commit);

// Parts of a repository that lies at `place` of the folder.
void read_refs(Found& found, FoundRepo& repo, const std::string& place);
FoundCommit read_commit(Found& found, const std::string& place, const CommitId& commit);
// The files of a plain folder.
FoundCommit read_files(Found& found, const std::string& place);

// A folder to be imported, before anything in it is believed: a cache, one repository's folder of a cache
// (where blobs lie in a store of the whole cache that is the folder), or a plain folder.
struct OpenedFolder {
  struct Alone {
    RepoId repo;
    std::string place;
  };
  Folder folder;
  std::optional<Alone> alone;  // the one repository that is meant
};
Result<OpenedFolder> open_cache(const std::string& path);
Result<OpenedFolder> open_plain(const std::string& path);

// Code::invalid says what the path is instead.
Result<Found> read_cache(OpenedFolder opened);
Result<Found> read_plain(OpenedFolder opened, const RepoId& repo);
// One commit of the repository whose folder `path` is.
Result<Found> read_snapshot(const std::string& path, const CommitId& commit);

}  // namespace hffs
