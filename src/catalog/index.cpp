// SPDX-License-Identifier: Apache-2.0
#include "index.h"

#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs::catalog {
namespace {

constexpr std::uint8_t kVersion = 1;
// A commit's row with one field more: who imported it.
constexpr std::uint8_t kSelfAttested = 2;
// A repository's with two more: how visible it is, and to whom.
constexpr std::uint8_t kWithStanding = 2;

std::int64_t seconds(WallTime time) {
  return time.time_since_epoch().count();
}
WallTime wall(std::int64_t value) {
  return WallTime(std::chrono::seconds(value));
}

std::optional<std::uint32_t> load_number(const ReadTxn& txn, Table table, std::string_view key) {
  const auto value = txn.get(table, key);
  if (!value) return {};
  Reader reader(*value);
  const std::uint32_t number = reader.u32();
  if (!reader.ok()) return {};
  return number;
}
// What a byte says; nothing where no program has written it.
std::optional<RepoType> type_of(std::uint8_t byte) {
  if (byte > static_cast<std::uint8_t>(RepoType::kernel)) return {};
  return static_cast<RepoType>(byte);
}
std::optional<TreeEntry::Kind> kind_of(std::uint8_t byte) {
  if (byte > static_cast<std::uint8_t>(TreeEntry::Kind::directory)) return {};
  return static_cast<TreeEntry::Kind>(byte);
}

std::string number_value(std::uint32_t number) {
  std::string value;
  for (int i = 0; i < 4; ++i) value.push_back(static_cast<char>(number >> (8 * i)));
  return value;
}

// Every record passes here after decoding: one place that notices damage.
bool sound(const Reader& reader, std::uint8_t version, Table table) {
  const bool known = version == kVersion || (version == kSelfAttested && table == Table::commits) ||
                     (version == kWithStanding && table == Table::repos);
  if (reader.complete() && known) return true;
  log(Level::error, "catalog", "a row of '{}' cannot be read; treated as absent", info(table).name);
  return false;
}

RefRow decode_ref(RepoNumber repo, std::string_view revision, std::string_view value, bool& good) {
  Reader reader(value);
  const std::uint8_t version = reader.u8();
  RefRow row{.number = reader.u64(), .repo = repo, .revision = std::string(revision)};
  row.directory = reader.u8() != 0;
  row.commit = reader.u32();
  row.changed = wall(reader.i64());
  good = sound(reader, version, Table::refs);
  return row;
}

std::optional<EntryRow> decode_entry(CommitNumber commit, Position position, std::string_view value) {
  Reader reader(value);
  const std::uint8_t version = reader.u8();
  EntryRow row;
  row.commit = commit;
  row.position = position;
  const auto kind = kind_of(reader.u8());
  row.depth = reader.u32();
  row.hex_length = reader.u32();
  row.parent = reader.u32();
  row.blob = reader.u64();
  row.name = std::string(reader.text());
  if (!sound(reader, version, Table::entries) || !kind) return {};
  row.kind = *kind;
  return row;
}

void store_repo(WriteTxn& txn, const RepoRow& row) {
  // Without a standing it is a row that older programs read.
  const bool plain = row.standing == Standing{};
  RecordWriter record(plain ? kVersion : kWithStanding);
  record.u8(static_cast<std::uint8_t>(row.id.type()))
      .text(row.id.name())
      .text(row.canonical.name())
      .i64(seconds(row.first_seen));
  if (!plain) {
    record.u8(static_cast<std::uint8_t>(row.standing.visibility))
        .u32(static_cast<std::uint32_t>(row.standing.readers.size()));
    for (const uid_t reader : row.standing.readers) record.u32(reader);
  }
  txn.put(Table::repos, KeyWriter().u32(row.number), record);
}

void store_ref(WriteTxn& txn, const RefRow& row) {
  txn.put(Table::refs, KeyWriter().u32(row.repo).text(row.revision),
          RecordWriter(kVersion)
              .u64(row.number)
              .u8(row.directory ? 1 : 0)
              .u32(row.commit)
              .i64(seconds(row.changed)));
  txn.put(Table::ref_numbers, KeyWriter().u64(row.number),
          KeyWriter().u32(row.repo).text(row.revision));
}

// The first key that sorts behind `prefix + after`.
std::string behind(std::string_view prefix, std::string_view after) {
  std::string key(prefix);
  if (after.empty()) return key;
  key.append(after);
  key.push_back('\0');
  return key;
}

}  // namespace

void store_entry(WriteTxn& txn, const EntryRow& row) {
  txn.put(Table::entries, KeyWriter().u32(row.commit).u32(row.position),
          RecordWriter(kVersion)
              .u8(static_cast<std::uint8_t>(row.kind))
              .u32(row.depth)
              .u32(row.hex_length)
              .u32(row.parent)
              .u64(row.blob)
              .text(row.name));
  txn.put(Table::entry_names, KeyWriter().u32(row.commit).u32(row.parent).text(row.name),
          number_value(row.position) + static_cast<char>(row.kind));
}

std::optional<RepoNumber> find_repo(const ReadTxn& txn, const RepoId& id) {
  return load_number(txn, Table::repo_names, id.layout());
}

namespace {

std::optional<RepoRow> decode_repo(RepoNumber number, std::string_view value) {
  Reader reader(value);
  const std::uint8_t version = reader.u8();
  const auto type = type_of(reader.u8());
  const std::string_view name = reader.text(), canonical = reader.text();
  const WallTime first_seen = wall(reader.i64());
  Standing standing;
  if (version == kWithStanding) {
    standing.visibility = static_cast<Visibility>(std::min<std::uint8_t>(
        reader.u8(), static_cast<std::uint8_t>(Visibility::hidden)));
    for (std::uint32_t left = reader.u32(); left > 0 && reader.ok(); --left)
      standing.readers.push_back(reader.u32());
  }
  if (!sound(reader, version, Table::repos) || !type) return {};
  auto id = RepoId::parse(*type, name), real = RepoId::parse(*type, canonical);
  if (!id || !real) return {};
  return RepoRow{number, *id, *real, first_seen, std::move(standing)};
}

}  // namespace

std::optional<RepoRow> load_repo(const ReadTxn& txn, RepoNumber number) {
  const auto value = txn.get(Table::repos, KeyWriter().u32(number));
  return value ? decode_repo(number, *value) : std::nullopt;
}

std::optional<RefRow> load_ref(const ReadTxn& txn, RepoNumber repo, std::string_view revision) {
  const auto value = txn.get(Table::refs, KeyWriter().u32(repo).text(revision));
  if (!value) return {};
  bool good = false;
  RefRow row = decode_ref(repo, revision, *value, good);
  if (!good) return {};
  return row;
}

std::optional<RefRow> load_ref(const ReadTxn& txn, std::uint64_t number) {
  const auto key = txn.get(Table::ref_numbers, KeyWriter().u64(number));
  if (!key) return {};
  Reader reader(*key);
  const RepoNumber repo = reader.key_u32();
  return load_ref(txn, repo, reader.rest());
}

std::optional<CommitNumber> find_commit(const ReadTxn& txn, RepoNumber repo, std::string_view hex) {
  return load_number(txn, Table::commit_names, KeyWriter().u32(repo).text(hex));
}

namespace {

std::optional<CommitRow> decode_commit(CommitNumber number, std::string_view value) {
  Reader reader(value);
  const std::uint8_t version = reader.u8();
  const RepoNumber repo = reader.u32();
  const std::string_view hex = reader.text();
  const WallTime time = wall(reader.i64());
  const std::uint8_t state = reader.u8();
  const Position next = reader.u32();
  const std::uint32_t files = reader.u32();
  std::string cursor(reader.text());
  std::optional<std::uint32_t> attested_by;
  if (version == kSelfAttested) attested_by = reader.u32();
  auto id = CommitId::parse(hex);
  if (!sound(reader, version, Table::commits) || !id) return {};
  return CommitRow{
      number, repo, *id, time, (state & 1) != 0, (state & 2) != 0, next, files, std::move(cursor),
      attested_by};
}

}  // namespace

std::optional<CommitRow> load_commit(const ReadTxn& txn, CommitNumber number) {
  const auto value = txn.get(Table::commits, KeyWriter().u32(number));
  return value ? decode_commit(number, *value) : std::nullopt;
}

std::optional<EntryRow> load_entry(const ReadTxn& txn, CommitNumber commit, Position position) {
  const auto value = txn.get(Table::entries, KeyWriter().u32(commit).u32(position));
  if (!value) return {};
  return decode_entry(commit, position, *value);
}

void visit_tree(const ReadTxn& txn, CommitNumber commit, Position after,
                const std::function<bool(const EntryRow&)>& visit) {
  const std::string prefix = KeyWriter().u32(commit).bytes();
  txn.scan(Table::entries, prefix, KeyWriter().u32(commit).u32(after), [&](auto key, auto value) {
    Reader reader(key.substr(prefix.size()));
    const Position position = reader.key_u32();
    if (!reader.complete() || position <= after) return true;
    const auto row = decode_entry(commit, position, value);
    return !row || visit(*row);
  });
}

std::optional<Position> find_entry(const ReadTxn& txn, CommitNumber commit, Position parent,
                                   std::string_view name) {
  return load_number(txn, Table::entry_names, KeyWriter().u32(commit).u32(parent).text(name));
}

std::optional<std::uint64_t> find_repo_blob(const ReadTxn& txn, RepoNumber repo,
                                            std::string_view hex) {
  const auto value = txn.get(Table::repo_blobs, KeyWriter().u32(repo).text(hex));
  if (!value) return {};
  Reader reader(*value);
  const std::uint64_t number = reader.u64();
  if (!reader.complete()) return {};
  return number;
}

std::string path_of(const ReadTxn& txn, CommitNumber commit, Position position) {
  std::string path;
  while (position != 0) {
    const auto row = load_entry(txn, commit, position);
    if (!row || row->parent >= position) break;
    path = path.empty() ? row->name : row->name + "/" + path;
    position = row->parent;
  }
  return path;
}

void visit_repos(const ReadTxn& txn, RepoNumber after,
                 const std::function<bool(const RepoRow&)>& visit) {
  txn.scan(Table::repos, {}, KeyWriter().u32(after + 1), [&](auto key, auto value) {
    const auto row = decode_repo(Reader(key).key_u32(), value);
    return !row || visit(*row);
  });
}

void visit_refs(const ReadTxn& txn, RepoNumber repo, std::string_view prefix,
                std::string_view after, const std::function<bool(const RefRow&)>& visit) {
  const std::string key_prefix = KeyWriter().u32(repo).text(prefix).bytes();
  txn.scan(Table::refs, key_prefix, behind(key_prefix, after), [&](auto key, auto value) {
    bool good = false;
    const RefRow row = decode_ref(repo, key.substr(4), value, good);
    return !good || visit(row);
  });
}

void visit_commits(const ReadTxn& txn, RepoNumber repo, std::string_view after,
                   const Visit& visit) {
  const std::string prefix = KeyWriter().u32(repo).bytes();
  txn.scan(Table::commit_names, prefix, behind(prefix, after), [&](auto key, auto value) {
    return visit(key.substr(prefix.size()), Reader(value).u32());
  });
}

void visit_all_commits(const ReadTxn& txn, const std::function<bool(const CommitRow&)>& visit) {
  txn.scan(Table::commits, {}, {}, [&](auto key, auto value) {
    const auto row = decode_commit(static_cast<CommitNumber>(Reader(key).key_u32()), value);
    return !row || visit(*row);
  });
}

void visit_repo_blobs(const ReadTxn& txn, RepoNumber repo, std::string_view after,
                      const Visit& visit) {
  const std::string prefix = KeyWriter().u32(repo).bytes();
  txn.scan(Table::repo_blobs, prefix, behind(prefix, after), [&](auto key, auto value) {
    return visit(key.substr(prefix.size()), Reader(value).u64());
  });
}

void visit_entries(const ReadTxn& txn, CommitNumber commit, Position parent, std::string_view after,
                   const std::function<bool(std::string_view name, Position position,
                                            TreeEntry::Kind kind)>& visit) {
  const std::string prefix = KeyWriter().u32(commit).u32(parent).bytes();
  txn.scan(Table::entry_names, prefix, behind(prefix, after), [&](auto key, auto value) {
    Reader reader(value);
    const Position position = reader.u32();
    const auto kind = kind_of(reader.u8());
    return !reader.complete() || !kind || visit(key.substr(prefix.size()), position, *kind);
  });
}

RepoNumber put_repo(WriteTxn& txn, const RepoId& id, const RepoId& canonical, WallTime now) {
  RepoRow row{.number = 0, .id = id, .canonical = canonical, .first_seen = now, .standing = {}};
  if (const auto known = find_repo(txn, id)) {
    row.number = *known;
    if (const auto there = load_repo(txn, row.number)) {
      if (there->canonical == canonical) return row.number;
      row.first_seen = there->first_seen;
      row.standing = there->standing;
    }
  } else {
    row.number = static_cast<RepoNumber>(txn.next_number("repo"));
    txn.put(Table::repo_names, id.layout(), number_value(row.number));
  }
  store_repo(txn, row);
  return row.number;
}

void put_standing(WriteTxn& txn, RepoNumber number, const Standing& standing) {
  auto row = load_repo(txn, number);
  if (!row || row->standing == standing) return;
  row->standing = standing;
  store_repo(txn, *row);
}

CommitNumber put_commit(WriteTxn& txn, RepoNumber repo, const CommitId& id, WallTime time) {
  if (const auto known = find_commit(txn, repo, id.hex()); known && load_commit(txn, *known))
    return *known;
  const auto number = static_cast<CommitNumber>(txn.next_number("commit"));
  txn.put(Table::commit_names, KeyWriter().u32(repo).text(id.hex()), number_value(number));
  store_commit(txn, CommitRow{.number = number, .repo = repo, .id = id, .time = time});
  return number;
}

void store_commit(WriteTxn& txn, const CommitRow& row) {
  RecordWriter record(row.attested_by ? kSelfAttested : kVersion);
  record.u32(row.repo)
      .text(row.id.hex())
      .i64(seconds(row.time))
      .u8(static_cast<std::uint8_t>((row.complete ? 1 : 0) | (row.started ? 2 : 0)))
      .u32(row.next_position)
      .u32(row.files)
      .text(row.cursor);
  if (row.attested_by) record.u32(*row.attested_by);
  txn.put(Table::commits, KeyWriter().u32(row.number), record);
}

RefRow put_ref_directory(WriteTxn& txn, RepoNumber repo, std::string_view path, WallTime now) {
  if (const std::size_t slash = path.rfind('/'); slash != path.npos)
    put_ref_directory(txn, repo, path.substr(0, slash), now);
  auto row = load_ref(txn, repo, path);
  if (row && row->directory) return *row;
  // A branch that became a directory of branches is another node.
  row = RefRow{.number = txn.next_number("ref"), .repo = repo, .revision = std::string(path)};
  row->directory = true;
  row->commit = 0;
  row->changed = now;
  store_ref(txn, *row);
  return *row;
}

RefRow put_ref(WriteTxn& txn, RepoNumber repo, std::string_view revision, CommitNumber commit,
               WallTime now) {
  auto row = load_ref(txn, repo, revision);
  if (row && !row->directory && row->commit == commit) return *row;
  if (commit != 0) {
    if (const std::size_t slash = revision.rfind('/'); slash != revision.npos)
      put_ref_directory(txn, repo, revision.substr(0, slash), now);
  }
  if (row && row->directory && commit == 0) return *row;
  if (!row || row->directory)
    row = RefRow{.number = txn.next_number("ref"), .repo = repo, .revision = std::string(revision)};
  row->commit = commit;
  row->changed = now;
  store_ref(txn, *row);
  return *row;
}

}  // namespace hffs::catalog
