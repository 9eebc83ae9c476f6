// SPDX-License-Identifier: Apache-2.0
//
// Rows of the index, whatever stands in them: a transaction in memory with the rows of the input, read by everybody who
// reads rows. An input is rows: a byte for the table, two for the lengths of key and value (the latter's in steps of 1,
// and 255 is "up to the end"), and both.
#include <map>

#include "blob_rows.h"
#include "fuzz.h"
#include "hffs/frozen_refs.h"
#include "hffs/pins.h"
#include "index.h"
#include "overlay_rows.h"
#include "recency.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

constexpr auto kTables = static_cast<std::size_t>(Table::count_);

class Rows final : public WriteTxn {
 public:
  std::optional<std::string_view> get(Table table, std::string_view key) const override {
    const auto& rows = of(table);
    const auto found = rows.find(key);
    return found == rows.end() ? std::nullopt : std::optional<std::string_view>(found->second);
  }
  void scan(Table table, std::string_view prefix, std::string_view from,
            const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    const auto& rows = of(table);
    for (auto row = rows.lower_bound(std::max(prefix, from)); row != rows.end() && row->first.starts_with(prefix); ++row)
      if (!visit(row->first, row->second)) return;
  }
  void put(Table table, std::string_view key, std::string_view value) override {
    of(table).insert_or_assign(std::string(key), std::string(value));
  }
  void erase(Table table, std::string_view key) override {
    if (const auto found = of(table).find(key); found != of(table).end()) of(table).erase(found);
  }
  std::uint64_t next_number(std::string_view) override { return ++numbers_; }

  using Table_ = std::map<std::string, std::string, std::less<>>;
  const Table_& of(Table table) const { return tables_[static_cast<std::size_t>(table)]; }
  Table_& of(Table table) { return tables_[static_cast<std::size_t>(table)]; }

 private:
  Table_ tables_[kTables];
  std::uint64_t numbers_ = 1'000;
};

// --- the store ---------------------------------------------------------------------------------

void check_blob(std::string_view value) {
  const auto row = decode_blob(value);
  if (!row) {
    MUST(row.error().code == Code::corrupt);
    return;
  }
  if (row->size <= kMostBlobBytes) {
    MUST(row->claimed.end() <= block_count(row->size));
    MUST(row->bytes_here() <= row->size);
  } else {
    MUST(row->claimed.empty());
  }
  const auto again = decode_blob(encode(*row));
  MUST(again && again->id == row->id && again->size == row->size && again->incarnation == row->incarnation);
  MUST(again->verified == row->verified && (row->verified || again->claimed == row->claimed));
}

void check_store(const Rows& rows) {
  for (const auto& [key, value] : rows.of(Table::blobs)) check_blob(value);
  for (const auto& [key, value] : rows.of(Table::evictions))
    for (const auto& [number, blob] : rows.of(Table::blobs))
      if (const auto row = decode_blob(blob); row && is_left_by_eviction(*row, value))
        MUST(!row->verified && row->claimed.empty());
  (void)load_times(rows);
}

// --- the overlay -------------------------------------------------------------------------------

void check_overlay(const Rows& rows) {
  for (const auto& [key, value] : rows.of(Table::overlay)) {
    const auto row = fs::decode(key, value);
    if (!row) continue;
    MUST(!row->name.empty() && row->kind <= FileKind::symlink);
    const auto again = fs::decode(key, fs::encode(*row));
    MUST(again && again->number == row->number && again->user == row->user && again->mode == row->mode);
    MUST(again->modified == row->modified && again->parent == row->parent && again->name == row->name);
    MUST(again->target == row->target && again->standing == row->standing && again->kind == row->kind);
  }
}

// --- the catalog -------------------------------------------------------------------------------

void check_repos(Rows& rows) {
  std::vector<catalog::RepoRow> repos;
  catalog::visit_repos(rows, 0, [&](const catalog::RepoRow& row) {
    repos.push_back(row);
    return true;
  });
  for (const auto& row : repos) {
    MUST(fuzz::is_safe_path(row.id.layout()) && RepoId::parse_layout(row.id.layout()) == row.id);
    MUST(RepoId::parse_layout(row.canonical.layout()) == row.canonical);
    // Written again it is the same.
    Standing other = row.standing;
    other.visibility = other.visibility == Visibility::open ? Visibility::hidden : Visibility::open;
    catalog::put_standing(rows, row.number, other);
    catalog::put_standing(rows, row.number, row.standing);
    const auto again = catalog::load_repo(rows, row.number);
    MUST(again && again->id == row.id && again->canonical == row.canonical && again->standing == row.standing);
    MUST(again->first_seen == row.first_seen);
    (void)catalog::find_repo(rows, row.id);
  }
}

void check_commits(Rows& rows) {
  for (catalog::CommitNumber number = 0; number < 8; ++number) {
    const auto commit = catalog::load_commit(rows, number);
    if (!commit) continue;
    MUST(CommitId::parse(commit->id.hex()) == commit->id);
    catalog::store_commit(rows, *commit);
    const auto again = catalog::load_commit(rows, number);
    MUST(again && again->id == commit->id && again->time == commit->time && again->complete == commit->complete);
    MUST(again->started == commit->started && again->next_position == commit->next_position);
    MUST(again->cursor == commit->cursor && again->attested_by == commit->attested_by);
    for (catalog::Position at = 0; at < 8; ++at) {
      (void)catalog::path_of(rows, number, at);  // ends, whatever the parents say
      const auto entry = catalog::load_entry(rows, number, at);
      if (!entry) continue;
      MUST(entry->kind == TreeEntry::Kind::file || entry->kind == TreeEntry::Kind::directory);
      catalog::store_entry(rows, *entry);
      const auto written = catalog::load_entry(rows, number, at);
      MUST(written && written->name == entry->name && written->parent == entry->parent);
      MUST(written->blob == entry->blob && written->depth == entry->depth);
    }
  }
}

void check_names(const Rows& rows) {
  for (std::uint32_t number = 0; number < 4; ++number) {
    catalog::visit_refs(rows, number, {}, {}, [](const catalog::RefRow&) { return true; });
    catalog::visit_refs(rows, number, "refs/", "refs/pr", [](const catalog::RefRow&) { return true; });
    catalog::visit_commits(rows, number, {}, [](auto, auto) { return true; });
    catalog::visit_repo_blobs(rows, number, "a", [](auto, auto) { return true; });
    catalog::visit_entries(rows, number, 0, {}, [](auto, auto, TreeEntry::Kind kind) {
      MUST(kind == TreeEntry::Kind::file || kind == TreeEntry::Kind::directory);
      return true;
    });
    (void)catalog::load_ref(rows, std::uint64_t{number});
    (void)catalog::find_commit(rows, number, std::string(40, 'a'));
    (void)catalog::find_entry(rows, number, 0, "name");
    (void)catalog::all_sources(rows, number);
    (void)catalog::load_sources(rows, number);
    (void)catalog::origin_has(rows, number);
  }
  (void)catalog::find_self_attested(rows);
}

void check_pins(const Rows& rows) {
  for (const Pin& pin : load_pins(rows)) MUST(RepoId::parse_layout(pin.repo.layout()) == pin.repo);
  visit_frozen_refs(rows, [&](const FrozenRef& ref) {
    MUST(RepoId::parse_layout(ref.repo.layout()) == ref.repo && CommitId::parse(ref.commit.hex()) == ref.commit);
    // One that is listed holds, for whom it says.
    const auto frozen = frozen_commit(rows, ref.repo, ref.revision, ref.user.value_or(12'345));
    MUST(!ref.user || ref.revision.size() > 300 || frozen == ref.commit);
  });
}

}  // namespace

FUZZ_TARGET(input) {
  Rows rows;
  while (!input.empty()) {
    const auto table = static_cast<Table>(input.byte() % kTables);
    const std::size_t key = input.byte(), value = input.byte();
    const auto name = input.take(key);
    rows.put(table, name, value == 255 ? input.rest() : input.take(value));
  }
  check_store(rows);
  check_overlay(rows);
  check_names(rows);
  check_pins(rows);
  visit_staying_blobs(rows, [](auto, auto) {});
  check_repos(rows);
  check_commits(rows);
}
