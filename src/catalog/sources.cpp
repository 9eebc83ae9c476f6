// SPDX-License-Identifier: Apache-2.0
//
// The table blob_sources: every place that a blob can be had from.
#include <algorithm>
#include <map>

#include "hffs/record.h"
#include "index.h"

namespace hffs::catalog {
namespace {

constexpr std::size_t kFirstSourceKey = 8 + 4;

void append(std::string& value, std::uint32_t number) {
  for (int i = 0; i < 4; ++i) value.push_back(static_cast<char>(number >> (8 * i)));
}

}  // namespace

void visit_sources(const ReadTxn& txn, std::uint64_t blob,
                   const std::function<bool(const SourceRow&)>& visit) {
  txn.scan(Table::blob_sources, KeyWriter().u64(blob), {}, [&](auto key, auto value) {
    Reader key_reader(key), reader(value);
    key_reader.key_u64();
    SourceRow row{.repo = key_reader.key_u32()};
    row.commit = key.size() == kFirstSourceKey ? reader.u32() : key_reader.key_u32();
    row.position = reader.u32();
    return !key_reader.complete() || !reader.complete() || visit(row);
  });
}

std::optional<SourceRow> first_source(const ReadTxn& txn, std::uint64_t blob) {
  std::optional<SourceRow> found;
  visit_sources(txn, blob, [&](const SourceRow& row) {
    found = row;
    return false;
  });
  return found;
}

std::vector<SourceRow> all_sources(const ReadTxn& txn, std::uint64_t blob) {
  std::vector<SourceRow> rows;
  visit_sources(txn, blob, [&](const SourceRow& row) {
    rows.push_back(row);
    return true;
  });
  return rows;
}

std::vector<SourceRow> load_sources(const ReadTxn& txn, std::uint64_t blob) {
  // A licence text has thousands of places.
  constexpr std::size_t kMostRead = 4'096, kMost = 16;
  std::vector<SourceRow> rows;
  visit_sources(txn, blob, [&](const SourceRow& row) {
    rows.push_back(row);
    return rows.size() < kMostRead;
  });
  // Commit numbers grow as commits are heard of.
  std::ranges::sort(rows, std::greater{}, &SourceRow::commit);
  std::map<RepoNumber, std::size_t> heard;  // places of the repository so far
  std::vector<std::pair<std::size_t, SourceRow>> ranked;
  for (const SourceRow& row : rows) ranked.emplace_back(heard[row.repo]++, row);
  std::ranges::stable_sort(ranked, {}, &std::pair<std::size_t, SourceRow>::first);
  rows.clear();
  for (const auto& [rank, row] : ranked)
    if (rows.size() < kMost) rows.push_back(row);
  return rows;
}

bool origin_has(const ReadTxn& txn, std::uint64_t blob) {
  bool found = false;
  visit_sources(txn, blob, [&](const SourceRow& row) {
    const auto commit = load_commit(txn, row.commit);
    found = commit && commit->attested_by.value_or(kFolderItself) == kFolderItself;
    return !found;
  });
  return found;
}

void put_source(WriteTxn& txn, std::uint64_t blob, const SourceRow& row) {
  const std::string first = KeyWriter().u64(blob).u32(row.repo).bytes();
  const auto known = txn.get(Table::blob_sources, first);
  if (known && Reader(*known).u32() == row.commit) return;
  std::string value;
  if (!known) append(value, row.commit);
  append(value, row.position);
  txn.put(Table::blob_sources,
          known ? KeyWriter().u64(blob).u32(row.repo).u32(row.commit).bytes() : first, value);
}

void erase_source(WriteTxn& txn, std::uint64_t blob, std::string_view hex, const SourceRow& row) {
  const std::string first = KeyWriter().u64(blob).u32(row.repo).bytes();
  const auto known = txn.get(Table::blob_sources, first);
  if (known && Reader(*known).u32() == row.commit) txn.erase(Table::blob_sources, first);
  txn.erase(Table::blob_sources, KeyWriter().u64(blob).u32(row.repo).u32(row.commit));
  bool others = false;
  txn.scan(Table::blob_sources, first, {}, [&](auto, auto) {
    others = true;
    return false;
  });
  if (!others && find_repo_blob(txn, row.repo, hex) == blob)
    txn.erase(Table::repo_blobs, KeyWriter().u32(row.repo).text(hex));
}

}  // namespace hffs::catalog
