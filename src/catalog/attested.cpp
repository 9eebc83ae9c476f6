// SPDX-License-Identifier: Apache-2.0
//
// Trees that came from a folder, and how they give way.
#include <map>

#include "hffs/record.h"
#include "index.h"

namespace hffs::catalog {
namespace {

// `over` has the last word on a path.
std::vector<TreeEntry> merge(const std::vector<TreeEntry>& under,
                             const std::vector<TreeEntry>& over) {
  std::map<std::string, TreeEntry> by_path;
  for (const auto* files : {&under, &over})
    for (const TreeEntry& file : *files) by_path.insert_or_assign(file.path, file);
  std::vector<TreeEntry> merged;
  for (auto& [path, file] : by_path) merged.push_back(std::move(file));
  return merged;
}

void erase_tree(WriteTxn& txn, const Store& store, const CommitRow& commit) {
  std::vector<EntryRow> entries;
  visit_tree(txn, commit.number, 0, [&](const EntryRow& entry) {
    entries.push_back(entry);
    return true;
  });
  for (const EntryRow& entry : entries) {
    if (const auto blob = store.find_blob(txn, entry.blob))
      erase_source(txn, blob->number, blob->id.hex(), {commit.repo, commit.number, entry.position});
    txn.erase(Table::entry_names,
              KeyWriter().u32(commit.number).u32(entry.parent).text(entry.name));
    txn.erase(Table::entries, KeyWriter().u32(commit.number).u32(entry.position));
  }
}

// The commit begins again, empty, under a new number.
CommitRow renumber(WriteTxn& txn, const Store& store, const CommitRow& commit) {
  std::vector<RefRow> refs;
  visit_refs(txn, commit.repo, {}, {}, [&](const RefRow& ref) {
    if (ref.commit == commit.number) refs.push_back(ref);
    return true;
  });
  erase_tree(txn, store, commit);
  txn.erase(Table::commits, KeyWriter().u32(commit.number));
  txn.erase(Table::commit_names, KeyWriter().u32(commit.repo).text(commit.id.hex()));
  const CommitNumber number = put_commit(txn, commit.repo, commit.id, commit.time);
  for (const RefRow& ref : refs) put_ref(txn, commit.repo, ref.revision, number, ref.changed);
  return CommitRow{.number = number, .repo = commit.repo, .id = commit.id, .time = commit.time};
}

}  // namespace

void change_standing(WriteTxn& txn, const Store& store, RepoNumber repo, const Standing& standing) {
  const auto row = load_repo(txn, repo);
  const bool was_closed = row && (row->standing.visibility == Visibility::gated ||
                                  row->standing.visibility == Visibility::hidden);
  put_standing(txn, repo, standing);
  if (!was_closed || standing.visibility != Visibility::open) return;
  std::vector<CommitRow> commits;
  visit_commits(txn, repo, {}, [&](std::string_view, std::uint64_t number) {
    const auto commit = load_commit(txn, static_cast<CommitNumber>(number));
    if (commit && !commit->attested_by) commits.push_back(*commit);
    return true;
  });
  for (const CommitRow& commit : commits) renumber(txn, store, commit);
}

std::vector<CommitNumber> find_self_attested(const ReadTxn& txn, std::size_t most) {
  std::vector<CommitNumber> found;
  visit_all_commits(txn, [&](const CommitRow& commit) {
    if (commit.attested_by && found.size() < most) found.push_back(commit.number);
    return found.size() < most;
  });
  return found;
}

bool grows_into(const std::vector<TreeEntry>& now, const std::vector<TreeEntry>& then) {
  std::map<std::string_view, const TreeEntry*> by_path;
  for (const TreeEntry& file : then)
    if (file.kind == TreeEntry::Kind::file) by_path[file.path] = &file;
  for (const TreeEntry& file : now) {
    const auto found = by_path.find(file.path);
    if (found == by_path.end() || found->second->blob != file.blob ||
        found->second->size != file.size)
      return false;
  }
  return true;
}

std::vector<TreeEntry> load_files(const ReadTxn& txn, const Store& store, const CommitRow& commit) {
  std::vector<TreeEntry> files;
  visit_tree(txn, commit.number, 0, [&](const EntryRow& entry) {
    if (entry.kind != TreeEntry::Kind::file) return true;
    const auto blob = store.find_blob(txn, entry.blob);
    if (blob)
      files.push_back({.path = path_of(txn, commit.number, entry.position),
                       .size = blob->size,
                       .blob = blob->id});
    return true;
  });
  return files;
}

CommitNumber set_tree(WriteTxn& txn, Store& store, const CommitRow& commit,
                      const std::vector<TreeEntry>& files,
                      std::optional<std::uint32_t> attested_by) {
  CommitRow row = commit;
  if (!grows_into(load_files(txn, store, commit), files)) row = renumber(txn, store, commit);
  put_entries(txn, store, row, files);
  row.started = row.complete = true;
  row.cursor.clear();
  row.attested_by = attested_by;
  store_commit(txn, row);
  return row.number;
}

void attest_tree(WriteTxn& txn, Store& store, const CommitRow& commit, std::vector<TreeEntry> files,
                 std::uint32_t attested_by) {
  if (commit.complete && !commit.attested_by) return;
  const auto before = load_files(txn, store, commit);
  // What single answers of the Hub have told so far is not a folder's to change.
  const bool folder_has_all = grows_into(before, files);
  files = commit.attested_by ? merge(before, files) : merge(files, before);
  // Who imported it stands for what a folder lacks: there may be no other copy.
  if (commit.attested_by && attested_by == kFolderItself && !folder_has_all)
    attested_by = *commit.attested_by;
  set_tree(txn, store, commit, files, attested_by);
}

}  // namespace hffs::catalog
