// SPDX-License-Identifier: Apache-2.0
#include "resolver.h"

namespace hffs::catalog {
namespace {

// A refresh that failed is not tried again at every stat of the ref.
constexpr std::chrono::milliseconds kRefreshPause{1'000};

std::string key_of(const RepoId& repo, const std::string& revision) {
  return repo.layout() + '\n' + revision;
}

std::optional<RepoRow> load_repo_row(Store& store, const RepoId& id) {
  std::optional<RepoRow> row;
  store.read([&](const ReadTxn& txn) {
    if (const auto number = find_repo(txn, id)) row = load_repo(txn, *number);
  });
  return row;
}

}  // namespace

Resolver::Resolver(const CatalogOptions& options, Origin& origin, Store& store,
                   AccessControl& access, const Clock& clock)
    : options_(options),
      origin_(origin),
      store_(store),
      access_(access),
      clock_(clock),
      missing_(clock),
      unseen_(clock),
      fresh_(clock) {}

void Resolver::look(const RepoId& repo, Done<RepoInfo> done) {
  const std::string key = repo.layout();
  if (!looks_.join(key, std::move(done))) return;
  if (unseen_.knows(key))
    return looks_.land(key, fail(Code::not_found, "no repository {}", repo.text()));
  origin_.look(repo, [self = shared_from_this(), repo, key](Result<RepoInfo> answer) {
    if (!answer) {
      if (answer.error().code == Code::not_found)
        self->unseen_.remember(key, self->options_.missing_ttl);
      return self->looks_.land(key, answer);
    }
    self->keep(repo, "main", *answer, [self, key, answer](Result<Resolution> kept) {
      if (!kept) return self->looks_.land(key, fail(kept));
      self->looks_.land(key, answer);
    });
  });
}

void Resolver::find(const RepoId& repo, const std::string& revision, Done<Resolution> done) {
  const std::string key = key_of(repo, revision);
  if (!flights_.join(key, std::move(done))) return;
  // An answer may have landed since the caller looked.
  if (const auto known = load(repo, revision)) return flights_.land(key, *known);
  ask(repo, revision, key);
}

void Resolver::resolve(const RepoId& repo, const std::string& revision, Done<Resolution> done) {
  const std::string key = key_of(repo, revision);
  if (flights_.join(key, std::move(done))) ask(repo, revision, key);
}

std::optional<Resolution> Resolver::load(const RepoId& repo, const std::string& revision) const {
  std::optional<Resolution> known;
  store_.read([&](const ReadTxn& txn) {
    const auto number = find_repo(txn, repo);
    auto ref = number ? load_ref(txn, *number, revision) : std::nullopt;
    if (!ref || ref->commit == 0) return;
    const auto commit = load_commit(txn, ref->commit);
    known = {.repo = *number, .ref = std::move(ref), .attested = commit && commit->attested_by};
  });
  return known;
}

void Resolver::ask(const RepoId& repo, const std::string& revision, const std::string& key) {
  if (missing_.knows(key) || missing_.knows(repo.layout()))
    return flights_.land(
        key, fail(Code::not_found, "{} has no revision '{}'", repo.text(), revision));
  // By the name asked for: after a rename it may be another repository's by now.
  origin_.fetch_revision(repo, revision,
                         [self = shared_from_this(), repo, revision, key](auto answer) {
                           self->settle(repo, revision, key, std::move(answer));
                         });
}

void Resolver::settle(const RepoId& repo, const std::string& revision, const std::string& key,
                      Result<RepoInfo> answer) {
  if (!answer) {
    // The whole repository is missing, as far as we may know; what is here already stays.
    if (answer.error().code == Code::not_found && !load_repo_row(store_, repo))
      missing_.remember(repo.layout(), options_.missing_ttl);
    return flights_.land(key, fail(answer));
  }
  keep(repo, revision, *answer, [self = shared_from_this(), key](Result<Resolution> kept) {
    self->flights_.land(key, kept);
  });
}

void Resolver::keep(const RepoId& repo, const std::string& revision, const RepoInfo& answer,
                    Done<Resolution> done) {
  const std::string key = key_of(repo, revision);
  if (answer.commit)
    fresh_.remember(key, options_.ref_ttl);
  else
    missing_.remember(key, options_.missing_ttl);
  std::optional<Standing> standing;
  if (answer.attested_by) {
    access_.note_import(repo, *answer.attested_by);
  } else if (answer.tells_access) {
    standing = access_.note(repo, answer.id,
                            answer.is_private ? Visibility::hidden
                            : answer.is_gated ? Visibility::gated
                                              : Visibility::open);
  }
  auto resolution = std::make_shared<Resolution>();
  auto write = [self = shared_from_this(), repo, revision, info = answer, standing,
                resolution](WriteTxn& txn) {
    const WallTime now = self->clock_.wall();
    // "No such revision" says nothing of the repository but that it is there.
    const auto known = info.commit ? std::nullopt : find_repo(txn, repo);
    *resolution = {.repo = known ? *known : put_repo(txn, repo, info.id, now),
                   .ref = {},
                   .attested = info.attested_by.has_value()};
    if (standing) change_standing(txn, self->store_, resolution->repo, *standing);
    if (info.attested_by) return self->put_attested(txn, revision, info, *resolution);
    if (info.commit) {
      const WallTime time = info.last_modified == WallTime{} ? now : info.last_modified;
      const CommitNumber commit = put_commit(txn, resolution->repo, *info.commit, time);
      resolution->ref = put_ref(txn, resolution->repo, revision, commit, now);
    } else if (load_ref(txn, resolution->repo, revision)) {
      put_ref(txn, resolution->repo, revision, 0, now);
    }
  };
  store_.write(std::move(write),
               [self = shared_from_this(), key, by_hub = answer.commit && !answer.attested_by,
                done = std::move(done), resolution](Result<void> written) mutable {
                 if (!written) return done(fail(written));
                 if (by_hub) self->note_confirmed(key);
                 done(*resolution);
               });
}

void Resolver::note_confirmed(const std::string& key) {
  constexpr std::size_t kMost = 65'536;  // as Recent keeps
  auto confirmed = confirmed_.lock();
  if (confirmed->size() >= kMost) confirmed->clear();
  (*confirmed)[key] = clock_.wall();
}

std::optional<WallTime> Resolver::confirmed(const RepoId& repo, const std::string& revision) {
  auto confirmed = confirmed_.lock();
  const auto found = confirmed->find(key_of(repo, revision));
  return found == confirmed->end() ? std::nullopt : std::optional(found->second);
}

// A folder's word: what the Hub has said of the revision stands.
void Resolver::put_attested(WriteTxn& txn, const std::string& revision, const RepoInfo& info,
                            Resolution& resolution) {
  resolution.ref = load_ref(txn, resolution.repo, revision);
  if (!info.commit) return;
  const WallTime now = clock_.wall();
  const bool known = find_commit(txn, resolution.repo, info.commit->hex()).has_value();
  const CommitNumber number = put_commit(txn, resolution.repo, *info.commit, now);
  if (!known) {
    auto commit = load_commit(txn, number);
    commit->attested_by = info.attested_by;
    store_commit(txn, *commit);
  }
  if (const auto& ref = resolution.ref; ref && ref->commit != 0) {
    const auto other = load_commit(txn, ref->commit);
    if (other && !other->attested_by) return;
  }
  resolution.ref = put_ref(txn, resolution.repo, revision, number, now);
}

void Resolver::find_directory(const RepoRow& repo, const std::string& path, Done<RefRow> done) {
  const std::string key = key_of(repo.id, path + '/');
  if (missing_.knows(key))
    return done(fail(Code::not_found, "{} has no refs below '{}'", repo.id.text(), path));
  if (!directories_.join(key, std::move(done))) return;
  origin_.fetch_refs(
      repo.canonical, [self = shared_from_this(), repo, path, key](Result<RefList> list) {
        if (!list) return self->directories_.land(key, fail(list));
        bool found = false;
        for (const auto& ref : list->refs) found = found || ref.revision.starts_with(path + '/');
        if (!found) {
          self->missing_.remember(key, self->options_.missing_ttl);
          return self->directories_.land(
              key, fail(Code::not_found, "{} has no refs below '{}'", repo.id.text(), path));
        }
        auto row = std::make_shared<RefRow>();
        self->store_.write(
            [self, repo, path, row](WriteTxn& txn) {
              *row = put_ref_directory(txn, repo.number, path, self->clock_.wall());
            },
            [self, key, row](Result<void> written) {
              if (!written) return self->directories_.land(key, fail(written));
              self->directories_.land(key, *row);
            });
      });
}

void Resolver::refresh(const RepoRow& repo, const std::string& revision, bool now) {
  const std::string key = key_of(repo.id, revision);
  if (now && may_force()) {
    // What is under way may be answered with what was true before: once more when it has landed.
    if (!flights_.under_way(key)) return ask_anew(repo.id, revision);
    return resolve(repo.id, revision, [self = shared_from_this(), id = repo.id, revision](auto) {
      self->ask_anew(id, revision);
    });
  }
  if (fresh_.knows(key)) return;
  fresh_.remember(key, kRefreshPause);
  ask_behind(repo.id, revision);
}

// Anybody may write a ref as often as he likes; the Hub's calls are everybody's.
bool Resolver::may_force() {
  constexpr int kMostForced = 120;
  auto forced = forced_.lock();
  const Instant now = clock_.now();
  if (now - forced->since >= std::chrono::minutes(1)) *forced = {now, 0};
  return ++forced->count <= kMostForced;
}

void Resolver::ask_anew(const RepoId& repo, const std::string& revision) {
  missing_.forget(key_of(repo, revision));
  missing_.forget(repo.layout());
  ask_behind(repo, revision);
}

void Resolver::ask_behind(const RepoId& repo, const std::string& revision) {
  resolve(repo, revision, [self = shared_from_this(), repo, revision](Result<Resolution> answer) {
    // Who may not ask does not keep others from it.
    if (!answer && answer.error().code == Code::over_quota)
      self->fresh_.forget(key_of(repo, revision));
    if (!answer)
      log(Level::debug, "catalog", "{}: refs/{} not refreshed: {}", repo.text(), revision,
          answer.error().message);
  });
}

}  // namespace hffs::catalog
