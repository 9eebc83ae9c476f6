// SPDX-License-Identifier: Apache-2.0
//
// The catalog's rows: how repositories, refs, commits and tree entries stand in the index. Formats:
// docs/STORE_FORMAT.md. Threads: whoever holds the transaction. load_ functions decode one row; a
// row that cannot be decoded is treated as absent (the table can be rebuilt from the Hub) and
// logged.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/access.h"
#include "hffs/clock.h"
#include "hffs/hub.h"
#include "hffs/ids.h"
#include "hffs/store.h"

namespace hffs::catalog {

using RepoNumber = std::uint32_t;
using CommitNumber = std::uint32_t;
using Position = std::uint32_t;  // in a commit's tree; 0 is its root

struct RepoRow {
  RepoNumber number = 0;
  RepoId id;         // as it was asked for: the directory's name
  RepoId canonical;  // as the Hub calls it: what requests for its content use
  WallTime first_seen{};
  Standing standing;
};

struct RefRow {
  std::uint64_t number = 0;
  RepoNumber repo = 0;
  std::string revision;
  bool directory = false;   // "refs/pr": the parent of nested refs
  CommitNumber commit = 0;  // 0: the Hub has no such revision (any more)
  WallTime changed{};
};

struct CommitRow {
  CommitNumber number = 0;
  RepoNumber repo = 0;
  CommitId id;
  WallTime time{};
  bool complete = false;  // the whole tree is in the index
  bool started = false;   // at least its first page is
  Position next_position = 1;
  std::uint32_t files = 0;
  std::string cursor;  // where the next page begins
  // Self-attested (trees.h): who imported it. The tree is a folder's word then.
  std::optional<std::uint32_t> attested_by;
};

struct EntryRow {
  CommitNumber commit = 0;
  Position position = 0;
  Position parent = 0;
  TreeEntry::Kind kind = TreeEntry::Kind::file;
  std::uint32_t depth = 0;       // directories between the snapshot and this entry
  std::uint32_t hex_length = 0;  // of the blob's name
  std::uint64_t blob = 0;
  std::string name;
};

// Where a blob's bytes can be had.
struct SourceRow {
  RepoNumber repo = 0;
  CommitNumber commit = 0;
  Position position = 0;
};

std::optional<RepoNumber> find_repo(const ReadTxn& txn, const RepoId& id);
std::optional<RepoRow> load_repo(const ReadTxn& txn, RepoNumber number);
std::optional<RefRow> load_ref(const ReadTxn& txn, RepoNumber repo, std::string_view revision);
std::optional<RefRow> load_ref(const ReadTxn& txn, std::uint64_t number);
std::optional<CommitNumber> find_commit(const ReadTxn& txn, RepoNumber repo, std::string_view hex);
std::optional<CommitRow> load_commit(const ReadTxn& txn, CommitNumber number);
std::optional<EntryRow> load_entry(const ReadTxn& txn, CommitNumber commit, Position position);
// What is there of a commit's tree behind position `after`, in order, until `visit` returns false. As many as there are:
// what the commit's own row says of their number may be damaged.
void visit_tree(const ReadTxn& txn, CommitNumber commit, Position after,
                const std::function<bool(const EntryRow&)>& visit);
std::optional<Position> find_entry(const ReadTxn& txn, CommitNumber commit, Position parent,
                                   std::string_view name);
std::optional<std::uint64_t> find_repo_blob(const ReadTxn& txn, RepoNumber repo,
                                            std::string_view hex);
// Rows of one blob: of each repository first the commit that had it first, then the later ones.
void visit_sources(const ReadTxn& txn, std::uint64_t blob,
                   const std::function<bool(const SourceRow&)>& visit);
// The first place that had the blob: its time and its repository do not change later.
std::optional<SourceRow> first_source(const ReadTxn& txn, std::uint64_t blob);
// One place in each commit that has it.
std::vector<SourceRow> all_sources(const ReadTxn& txn, std::uint64_t blob);
// Where to ask for its bytes, likeliest first: the commit that each repository was heard of last
// with, the newest knowledge first; then what they had before. At most a few.
std::vector<SourceRow> load_sources(const ReadTxn& txn, std::uint64_t blob);
// Whether a commit has the blob that the Hub lists, or a folder that is an origin: not only an import.
bool origin_has(const ReadTxn& txn, std::uint64_t blob);
// "dir/file" of a position; empty for the root.
std::string path_of(const ReadTxn& txn, CommitNumber commit, Position position);

// Visitors return false to stop. `from` is exclusive: a name seen before, or empty.
using Visit = std::function<bool(std::string_view name, std::uint64_t number)>;
void visit_repos(const ReadTxn& txn, RepoNumber after,
                 const std::function<bool(const RepoRow&)>& visit);
void visit_refs(const ReadTxn& txn, RepoNumber repo, std::string_view prefix,
                std::string_view after, const std::function<bool(const RefRow&)>& visit);
void visit_commits(const ReadTxn& txn, RepoNumber repo, std::string_view after, const Visit& visit);
// Of all repositories, in one pass: much faster than by their names.
void visit_all_commits(const ReadTxn& txn, const std::function<bool(const CommitRow&)>& visit);
void visit_repo_blobs(const ReadTxn& txn, RepoNumber repo, std::string_view after,
                      const Visit& visit);
void visit_entries(const ReadTxn& txn, CommitNumber commit, Position parent, std::string_view after,
                   const std::function<bool(std::string_view name, Position position,
                                            TreeEntry::Kind kind)>& visit);

// Find or add; all inside one write.
RepoNumber put_repo(WriteTxn& txn, const RepoId& id, const RepoId& canonical, WallTime now);
// What is known of who may see it; nothing if the repository is not there.
void put_standing(WriteTxn& txn, RepoNumber number, const Standing& standing);
CommitNumber put_commit(WriteTxn& txn, RepoNumber repo, const CommitId& id, WallTime time);
void store_commit(WriteTxn& txn, const CommitRow& row);
// As put_standing(). What was private under this name is not what is public now: then each commit gets a new number, and
// is asked for anew, by everybody's right.
void change_standing(WriteTxn& txn, const Store& store, RepoNumber repo, const Standing& standing);
void store_entry(WriteTxn& txn, const EntryRow& row);
// Sets what a revision means (commit 0: nothing), with the directories above a nested one.
RefRow put_ref(WriteTxn& txn, RepoNumber repo, std::string_view revision, CommitNumber commit,
               WallTime now);
RefRow put_ref_directory(WriteTxn& txn, RepoNumber repo, std::string_view path, WallTime now);
// Notes one more place of a blob.
void put_source(WriteTxn& txn, std::uint64_t blob, const SourceRow& row);
// Takes a place of a blob away, and the repository's name of it with the last one.
void erase_source(WriteTxn& txn, std::uint64_t blob, std::string_view hex, const SourceRow& row);
// Adds entries and the directories above them to a commit's tree; known ones stay as they are.
// Updates `commit` (the caller stores it).
void put_entries(WriteTxn& txn, Store& store, CommitRow& commit,
                 const std::vector<TreeEntry>& entries);

// attested.cpp: self-attested commits, at most so many of them.
std::vector<CommitNumber> find_self_attested(const ReadTxn& txn, std::size_t most = SIZE_MAX);
// The files of a tree, whose paths hold.
std::vector<TreeEntry> load_files(const ReadTxn& txn, const Store& store, const CommitRow& commit);
// Makes `files` the whole tree of a commit, by the Hub's word or (`attested_by`) a folder's. Where
// that takes away or changes a file, the commit gets a new number, for a node means one thing for
// ever; refs follow it. Not for a commit whose tree is the Hub's already.
CommitNumber set_tree(WriteTxn& txn, Store& store, const CommitRow& commit,
                      const std::vector<TreeEntry>& files, std::optional<std::uint32_t> attested_by);
// Whether every file of `now` is one of `then`, with the same content.
bool grows_into(const std::vector<TreeEntry>& now, const std::vector<TreeEntry>& then);
// Adds a folder's word to what is known of a commit (trees.h, attest()).
void attest_tree(WriteTxn& txn, Store& store, const CommitRow& commit, std::vector<TreeEntry> files,
                 std::uint32_t attested_by);

}  // namespace hffs::catalog
