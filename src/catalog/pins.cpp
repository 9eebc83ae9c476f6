// SPDX-License-Identifier: Apache-2.0
#include "hffs/pins.h"

#include <memory>
#include <string>
#include <unordered_set>

#include "hffs/frozen_refs.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"
#include "index.h"

namespace hffs {
namespace {

using catalog::CommitNumber;
using catalog::RepoNumber;
using Visit = std::function<void(std::uint64_t)>;

constexpr std::uint8_t kPinVersion = 1;
constexpr char kBeforeCommit = '@';

std::string key_of(const RepoId& repo, const std::optional<CommitId>& commit) {
  return commit ? repo.layout() + kBeforeCommit + commit->hex() : repo.layout();
}

std::optional<Pin> decode_pin(std::string_view key, std::string_view value) {
  Reader reader(value);
  const std::uint8_t version = reader.u8();
  const WallTime since{std::chrono::seconds(reader.i64())};
  const std::size_t at = key.find(kBeforeCommit);
  auto repo = RepoId::parse_layout(key.substr(0, at));
  std::optional<CommitId> commit;
  bool sound = version == kPinVersion && reader.complete() && repo;
  if (at != key.npos) {
    auto parsed = CommitId::parse(key.substr(at + 1));
    sound = sound && parsed;
    if (sound) commit = std::move(*parsed);
  }
  if (sound) return Pin{std::move(*repo), std::move(commit), since};
  log(Level::error, "catalog", "a row of 'pins' cannot be read; nothing is pinned by it");
  return std::nullopt;
}

void visit_repo(const ReadTxn& txn, RepoNumber repo, const Visit& visit) {
  catalog::visit_repo_blobs(txn, repo, {}, [&](std::string_view, std::uint64_t number) {
    visit(number);
    return true;
  });
}

void visit_commit(const ReadTxn& txn, CommitNumber number, const Visit& visit) {
  if (!catalog::load_commit(txn, number)) return;
  catalog::visit_tree(txn, number, 0, [&](const catalog::EntryRow& entry) {
    if (entry.blob != 0) visit(entry.blob);
    return true;
  });
}

void visit_named(const ReadTxn& txn, const RepoId& id, const std::optional<CommitId>& commit,
                 const Visit& visit) {
  const auto repo = catalog::find_repo(txn, id);
  if (!repo) return;
  if (!commit) return visit_repo(txn, *repo, visit);
  if (const auto number = catalog::find_commit(txn, *repo, commit->hex()))
    visit_commit(txn, *number, visit);
}

}  // namespace

std::vector<Pin> load_pins(const ReadTxn& txn) {
  std::vector<Pin> pins;
  txn.scan(Table::pins, {}, {}, [&](std::string_view key, std::string_view value) {
    if (auto pin = decode_pin(key, value)) pins.push_back(std::move(*pin));
    return true;
  });
  return pins;
}

void Pins::add(const RepoId& repo, const std::optional<CommitId>& commit, Done<void> done) {
  const std::int64_t now = clock_.wall().time_since_epoch().count();
  store_.write(
      [key = key_of(repo, commit), now](WriteTxn& txn) {
        if (!txn.get(Table::pins, key)) txn.put(Table::pins, key, RecordWriter(kPinVersion).i64(now));
      },
      std::move(done));
}

void Pins::remove(const RepoId& repo, const std::optional<CommitId>& commit, Done<void> done) {
  const auto found = std::make_shared<bool>(false);
  store_.write(
      [key = key_of(repo, commit), all = !commit, found](WriteTxn& txn) {
        std::vector<std::string> keys;
        if (txn.get(Table::pins, key)) keys.push_back(key);
        if (all)
          txn.scan(Table::pins, key + kBeforeCommit, {}, [&](std::string_view each, std::string_view) {
            keys.emplace_back(each);
            return true;
          });
        for (const std::string& each : keys) txn.erase(Table::pins, each);
        *found = !keys.empty();
      },
      [name = commit ? repo.text() + kBeforeCommit + commit->hex() : repo.text(), found,
       done = std::move(done)](Result<void> written) mutable {
        if (written && !*found)
          return done(fail(Code::not_found, "{} is not pinned; `hffs pins` lists what is", name));
        done(std::move(written));
      });
}

std::vector<Pin> Pins::list() const {
  std::vector<Pin> pins;
  store_.read([&](const ReadTxn& txn) { pins = load_pins(txn); });
  return pins;
}

std::vector<std::uint64_t> Pins::blobs_of(const RepoId& repo,
                                          const std::optional<CommitId>& commit) const {
  std::vector<std::uint64_t> blobs;
  store_.read([&](const ReadTxn& txn) {
    visit_named(txn, repo, commit, [&](std::uint64_t blob) { blobs.push_back(blob); });
  });
  return blobs;
}

std::vector<std::uint64_t> Pins::unreferenced(const std::optional<RepoId>& repo) const {
  std::vector<std::uint64_t> blobs;
  store_.read([&](const ReadTxn& txn) {
    // A blob may be another repository's, too: all refs count.
    std::unordered_set<std::uint64_t> referenced, seen;
    std::unordered_set<CommitNumber> commits;
    std::vector<RepoNumber> wanted;
    catalog::visit_repos(txn, 0, [&](const catalog::RepoRow& row) {
      if (!repo || row.id == *repo) wanted.push_back(row.number);
      catalog::visit_refs(txn, row.number, {}, {}, [&](const catalog::RefRow& ref) {
        if (ref.commit != 0 && commits.insert(ref.commit).second)
          visit_commit(txn, ref.commit, [&](std::uint64_t blob) { referenced.insert(blob); });
        return true;
      });
      return true;
    });
    for (const RepoNumber number : wanted)
      visit_repo(txn, number, [&](std::uint64_t blob) {
        if (!referenced.contains(blob) && seen.insert(blob).second) blobs.push_back(blob);
      });
  });
  return blobs;
}

void visit_staying_blobs(const ReadTxn& txn, const Bounds::Visit& visit) {
  const auto pinned = [&](std::uint64_t blob) { visit(blob, Bounds::Stay::pinned); };
  visit_frozen_refs(txn, [&](const FrozenRef& ref) {
    visit_named(txn, ref.repo, ref.commit, pinned);
  });
  for (const Pin& pin : load_pins(txn)) visit_named(txn, pin.repo, pin.commit, pinned);
  for (const CommitNumber commit : catalog::find_self_attested(txn))
    visit_commit(txn, commit, [&](std::uint64_t blob) {
      if (!catalog::origin_has(txn, blob)) visit(blob, Bounds::Stay::only_copy);
    });
}

}  // namespace hffs
