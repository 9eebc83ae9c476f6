// SPDX-License-Identifier: Apache-2.0
#include "hffs/frozen_refs.h"

#include <memory>

#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr char kBeforeRevision = '@';
constexpr std::uint32_t kEverybody = 0xFFFF'FFFF;  // (uid_t)-1: nobody's
constexpr std::size_t kMostKey = 511;              // LMDB's

std::string key_of(std::optional<uid_t> user, const RepoId& repo, std::string_view revision) {
  std::string key = KeyWriter().u32(user.value_or(kEverybody)).text(repo.layout()).bytes();
  key.push_back(kBeforeRevision);
  key.append(revision);
  return key;
}

std::optional<FrozenRef> decode(std::string_view key, std::string_view value) {
  Reader keys(key), values(value);
  const std::uint32_t user = keys.key_u32();
  const std::string_view name = keys.rest();
  const std::uint8_t version = values.u8();
  const auto commit = CommitId::parse(values.text());
  const WallTime since{std::chrono::seconds(values.i64())};
  const std::size_t at = name.find(kBeforeRevision);
  const auto repo = RepoId::parse_layout(name.substr(0, at));
  if (version == kVersion && keys.ok() && values.complete() && commit && repo && at != name.npos)
    return FrozenRef{.repo = *repo,
                     .revision = std::string(name.substr(at + 1)),
                     .commit = *commit,
                     .user = user == kEverybody ? std::nullopt : std::optional<uid_t>(user),
                     .since = since};
  log(Level::error, "catalog", "a row of 'frozen_refs' cannot be read; nothing is frozen by it");
  return std::nullopt;
}

}  // namespace

std::optional<CommitId> frozen_commit(const ReadTxn& txn, const RepoId& repo,
                                      std::string_view revision, uid_t user) {
  for (const std::optional<uid_t> whose : {std::optional<uid_t>(user), std::optional<uid_t>()}) {
    const std::string key = key_of(whose, repo, revision);
    if (key.size() > kMostKey) return {};
    const auto value = txn.get(Table::frozen_refs, key);
    if (!value) continue;
    if (auto found = decode(key, *value)) return std::move(found->commit);
  }
  return {};
}

bool has_frozen_below(const ReadTxn& txn, const RepoId& repo, std::string_view directory, uid_t user) {
  bool found = false;
  for (const uid_t whose : {user, kEverybody}) {
    const std::string prefix = key_of(whose, repo, directory) + '/';
    if (prefix.size() > kMostKey) continue;
    txn.scan(Table::frozen_refs, prefix, {}, [&](std::string_view, std::string_view) {
      found = true;
      return false;
    });
  }
  return found;
}

void visit_frozen_refs(const ReadTxn& txn, const std::function<void(const FrozenRef&)>& visit) {
  txn.scan(Table::frozen_refs, {}, {}, [&](std::string_view key, std::string_view value) {
    if (const auto found = decode(key, value)) visit(*found);
    return true;
  });
}

void FrozenRefs::freeze(FrozenRef ref, std::size_t most, Done<void> done) {
  const std::string key = key_of(ref.user, ref.repo, ref.revision);
  if (key.size() > kMostKey)
    return done(fail(Code::invalid, "the name of the ref is too long to be frozen"));
  ref.since = clock_.wall();
  auto full = std::make_shared<bool>(false);
  store_.write(
      [key, ref, most, full](WriteTxn& txn) {
        std::size_t has = 0;
        txn.scan(Table::frozen_refs, KeyWriter().u32(ref.user.value_or(kEverybody)), {},
                 [&](std::string_view each, std::string_view) {
                   if (each != key) ++has;
                   return has < most;
                 });
        *full = has >= most;
        if (*full) return;
        txn.put(Table::frozen_refs, key,
                RecordWriter(kVersion)
                    .text(ref.commit.hex())
                    .i64(ref.since.time_since_epoch().count()));
      },
      [full, most, done = std::move(done)](Result<void> written) mutable {
        if (written && *full)
          return done(fail(Code::no_space,
                           "{} refs are frozen already, and no more may be; end some with "
                           "`hffs unpin REPO --ref REF`",
                           most));
        done(std::move(written));
      });
}

void FrozenRefs::thaw(const RepoId& repo, const std::string& revision, std::optional<uid_t> user,
                      Done<void> done) {
  auto found = std::make_shared<bool>(false);
  store_.write(
      [key = key_of(user, repo, revision), found](WriteTxn& txn) {
        *found = key.size() <= kMostKey && txn.get(Table::frozen_refs, key).has_value();
        if (*found) txn.erase(Table::frozen_refs, key);
      },
      [found, name = fmt::format("refs/{} of {}", revision, repo.text()),
       whose = user ? "you" : "everybody", done = std::move(done)](Result<void> written) mutable {
        if (written && !*found)
          return done(fail(Code::not_found,
                           "{} is not frozen for {}; `hffs pins` lists what is", name, whose));
        done(std::move(written));
      });
}

std::vector<FrozenRef> FrozenRefs::list() const {
  std::vector<FrozenRef> refs;
  store_.read([&](const ReadTxn& txn) {
    visit_frozen_refs(txn, [&](const FrozenRef& ref) { refs.push_back(ref); });
  });
  return refs;
}

}  // namespace hffs
