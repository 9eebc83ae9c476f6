// SPDX-License-Identifier: Apache-2.0
//
// A listing's entries → rows: directories above them, places of blobs, and what is in the tree already.
#include <map>

#include "hffs/record.h"
#include "hffs/telemetry.h"
#include "index.h"

namespace hffs::catalog {
namespace {

// Adds one entry below `parent`; nothing if the name is there already.
std::optional<Position> add_entry(WriteTxn& txn, CommitRow& commit, EntryRow row) {
  if (const auto known = find_entry(txn, commit.number, row.parent, row.name)) {
    const auto there = load_entry(txn, commit.number, *known);
    if (there && there->kind != row.kind) {
      log(Level::warn, "catalog", "commit {}: '{}' is both a file and a directory; ignored",
          commit.id.hex(), row.name);
      return {};
    }
    return known;
  }
  row.commit = commit.number;
  row.position = commit.next_position++;
  store_entry(txn, row);
  return row.position;
}

}  // namespace

void put_entries(WriteTxn& txn, Store& store, CommitRow& commit,
                 const std::vector<TreeEntry>& entries) {
  std::map<std::string, Position, std::less<>> directories;  // of this batch
  for (const TreeEntry& entry : entries) {
    Position parent = 0;
    std::uint32_t depth = 0;
    std::string_view path = entry.path;
    bool usable = true;
    for (std::size_t slash = path.find('/'); slash != path.npos && usable;
         slash = path.find('/', slash + 1), ++depth) {
      const std::string_view directory = path.substr(0, slash);
      if (const auto known = directories.find(directory); known != directories.end()) {
        parent = known->second;
        continue;
      }
      EntryRow row{.parent = parent,
                   .kind = TreeEntry::Kind::directory,
                   .depth = depth,
                   .name = std::string(directory.substr(directory.rfind('/') + 1))};
      const auto position = add_entry(txn, commit, std::move(row));
      if ((usable = position.has_value())) parent = directories[std::string(directory)] = *position;
    }
    if (!usable) continue;
    EntryRow row{.parent = parent,
                 .kind = entry.kind,
                 .depth = depth,
                 .name = std::string(path.substr(path.rfind('/') + 1))};
    if (entry.kind == TreeEntry::Kind::file) {
      if (!entry.blob) continue;
      row.blob = store.add_blob(txn, *entry.blob, entry.size);
      row.hex_length = static_cast<std::uint32_t>(entry.blob->hex().size());
    }
    const std::uint64_t blob = row.blob;
    const Position before = commit.next_position;
    const auto position = add_entry(txn, commit, std::move(row));
    if (!position || commit.next_position == before || blob == 0) continue;
    ++commit.files;
    std::string blob_value;
    for (int i = 0; i < 8; ++i) blob_value.push_back(static_cast<char>(blob >> (8 * i)));
    txn.put(Table::repo_blobs, KeyWriter().u32(commit.repo).text(entry.blob->hex()), blob_value);
    put_source(txn, blob, {commit.repo, commit.number, *position});
  }
}

}  // namespace hffs::catalog
