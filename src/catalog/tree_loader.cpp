// SPDX-License-Identifier: Apache-2.0
#include "tree_loader.h"

namespace hffs::catalog {
namespace {

// A listing in pages leaves this many calls of the budget to those who ask for single paths, and
// looks again after the pause.
constexpr std::uint32_t kReservedCalls = 20;
constexpr std::chrono::milliseconds kReservePause{15'000};
// After this many single paths of one commit its whole tree is worth having.
constexpr int kPathsBeforeListing = 8;
// What a path at a pinned commit is remembered to be missing for: the answer cannot change.
constexpr std::chrono::hours kForLong{24};
// Longer than a question that follows a wait can take.
constexpr std::chrono::minutes kLongestQuestion{1};

std::string listing_key(CommitNumber commit) {
  return std::to_string(commit);
}

struct Target {
  CommitRow commit;
  RepoId repo;  // as the Hub calls it
};
Result<Target> load_target(Store& store, CommitNumber number) {
  std::optional<Target> target;
  store.read([&](const ReadTxn& txn) {
    const auto commit = load_commit(txn, number);
    if (!commit) return;
    if (const auto repo = load_repo(txn, commit->repo)) target = Target{*commit, repo->canonical};
  });
  if (!target) return fail(Code::stale, "commit {} is not in the index", number);
  return *target;
}

}  // namespace

TreeLoader::TreeLoader(const CatalogOptions& options, Origin& origin, Store& store,
                       const Clock& clock)
    : options_(options),
      origin_(origin),
      store_(store),
      clock_(clock),
      missing_(clock),
      doubtful_(clock),
      restarted_(clock),
      unconfirmed_(clock),
      limited_(clock),
      gone_(clock) {}

bool TreeLoader::is_gone(CommitNumber commit) {
  return gone_.knows(listing_key(commit));
}

void TreeLoader::fetch_page(CommitNumber commit, Done<Page> done) {
  const std::string key = listing_key(commit);
  if (!pages_.join(key, std::move(done))) return;
  const auto target = load_target(store_, commit);
  if (!target) return pages_.land(key, fail(target.error()));
  if (target->commit.complete) return pages_.land(key, Page{.complete = true, .calls_left = {}});
  origin_.fetch_tree_page(target->repo, target->commit.id, target->commit.cursor,
                          [self = shared_from_this(), commit, key](Result<TreePage> page) {
                            if (!page) return self->pages_.land(key, fail(page));
                            self->store_page(commit, key, std::move(*page));
                          });
}

void TreeLoader::store_page(CommitNumber commit, const std::string& key, TreePage page) {
  const Page result{.complete = !page.next, .calls_left = page.calls_left};
  store_.write(
      [self = shared_from_this(), commit, page = std::move(page)](WriteTxn& txn) {
        if (auto row = load_commit(txn, commit)) self->put_page(txn, *row, page);
      },
      [self = shared_from_this(), key, result](Result<void> written) {
        if (!written) return self->pages_.land(key, fail(written));
        self->pages_.land(key, result);
      });
}

void TreeLoader::put_page(WriteTxn& txn, CommitRow& commit, const TreePage& page) {
  if (page.attested_by)
    return attest_tree(txn, store_, commit, page.entries, *page.attested_by);
  // An import has come while the page was on its way: the Hub's listing replaces it as a whole, or not
  // at all (confirm()).
  if (commit.attested_by && commit.complete) return;
  put_entries(txn, store_, commit, page.entries);
  commit.started = true;
  commit.complete = !page.next;
  commit.cursor = page.next.value_or("");
  // A folder has named it, and the Hub lists it.
  commit.attested_by.reset();
  store_commit(txn, commit);
}

void TreeLoader::complete(CommitNumber commit, Done<void> done) {
  const auto target = load_target(store_, commit);
  if (!target) return done(fail(target.error()));
  if (target->commit.attested_by && target->commit.complete) confirm_behind(commit);
  if (target->commit.complete) return done({});
  const std::string key = listing_key(commit);
  const bool first = listings_.join(key, [done = std::move(done)](Result<bool> result) mutable {
    if (!result) return done(fail(result));
    done({});
  });
  if (first) next_page(commit, key);
}

void TreeLoader::next_page(CommitNumber commit, const std::string& key) {
  fetch_page(commit, [self = shared_from_this(), commit, key](Result<Page> page) {
    self->page_arrived(commit, key, std::move(page));
  });
}

void TreeLoader::page_arrived(CommitNumber commit, const std::string& key, Result<Page> page) {
  if (page) {
    limited_.forget(key);
    if (page->complete) return listings_.land(key, true);
    if (page->calls_left && *page->calls_left < kReservedCalls)
      return later(kReservePause, commit, key);
    return next_page(commit, key);
  }
  const Error& error = page.error();
  // Who was told when to come again, came, and is refused again, waits for nothing.
  if (error.code == Code::rate_limited && !limited_.knows(key)) {
    const auto wait = std::max(error.retry_after, std::chrono::milliseconds{1'000});
    limited_.remember(key, wait + kLongestQuestion);
    return later(wait, commit, key);
  }
  limited_.forget(key);
  if (error.code == Code::not_found) gone_.remember(key, options_.missing_ttl);
  const auto target = load_target(store_, commit);
  const bool cursor_refused = !info(error.code).retry_helps && error.code != Code::offline &&
                              error.code != Code::cancelled && target &&
                              !target->commit.cursor.empty() && !restarted_.knows(key);
  if (!cursor_refused) return listings_.land(key, fail(error));
  // A kept cursor may have expired: once, from the start; known entries stay what they are.
  restarted_.remember(key, kForLong);
  store_.write(
      [commit](WriteTxn& txn) {
        if (auto row = load_commit(txn, commit)) {
          row->cursor.clear();
          store_commit(txn, *row);
        }
      },
      [self = shared_from_this(), commit, key](Result<void> written) {
        if (!written) return self->listings_.land(key, fail(written));
        self->next_page(commit, key);
      });
}

void TreeLoader::later(std::chrono::milliseconds delay, CommitNumber commit,
                       const std::string& key) {
  log(Level::info, "catalog", "the listing of commit number {} goes on in {} s (rate limit)",
      commit, delay.count() / 1'000);
  timer_.after(delay, [self = weak_from_this(), commit, key] {
    if (const auto here = self.lock()) here->next_page(commit, key);
  });
}

void TreeLoader::find(CommitNumber commit, Position parent, const std::string& name,
                      Done<std::optional<Position>> done) {
  std::optional<CommitRow> row;
  std::optional<Position> position;
  store_.read([&](const ReadTxn& txn) {
    position = find_entry(txn, commit, parent, name);
    row = load_commit(txn, commit);
  });
  if (!row) return done(fail(Code::stale, "commit {} is not in the index", commit));
  if (row->attested_by && row->complete) confirm_behind(commit);
  if (position || row->complete) return done(position);
  if (row->started) return ask_path(commit, parent, name, std::move(done));
  fetch_page(commit, [self = shared_from_this(), commit, parent, name,
                      done = std::move(done)](Result<Page> page) mutable {
    if (!page) return done(fail(page));
    self->find(commit, parent, name, std::move(done));
  });
}

void TreeLoader::ask_path(CommitNumber commit, Position parent, const std::string& name,
                          Done<std::optional<Position>> done) {
  const auto target = load_target(store_, commit);
  if (!target) return done(fail(target.error()));
  std::string path;
  store_.read([&](const ReadTxn& txn) { path = path_of(txn, commit, parent); });
  path = path.empty() ? name : path + '/' + name;
  const std::string key = listing_key(commit) + '/' + path;
  if (missing_.knows(key)) return done(std::optional<Position>{});
  if (doubtful_.knows(key)) return done(fail(Code::not_found, "{} was not found", path));
  if (!paths_.join(key, std::move(done))) return;
  // Again after as many, where the listing could not be had.
  if (++(*asked_.lock())[commit] % kPathsBeforeListing == 0) complete(commit, [](Result<void>) {});
  auto answer = [self = shared_from_this(), commit, parent, name, path,
                 key](Result<std::vector<TreeEntry>> entries) {
    if (!entries) {
      if (entries.error().code == Code::not_found)
        self->doubtful_.remember(key, self->options_.missing_ttl);
      return self->paths_.land(key, fail(entries));
    }
    std::erase_if(*entries, [&](const TreeEntry& entry) { return entry.path != path; });
    if (entries->empty()) {
      self->missing_.remember(key, kForLong);
      return self->paths_.land(key, std::optional<Position>{});
    }
    auto position = std::make_shared<std::optional<Position>>();
    self->store_.write(
        [self, commit, parent, name, position, entries = std::move(*entries)](WriteTxn& txn) {
          auto row = load_commit(txn, commit);
          if (!row) return;
          put_entries(txn, self->store_, *row, entries);
          store_commit(txn, *row);
          *position = find_entry(txn, commit, parent, name);
        },
        [self, key, position](Result<void> written) {
          if (!written) return self->paths_.land(key, fail(written));
          self->paths_.land(key, *position);
        });
  };
  origin_.fetch_paths(target->repo, target->commit.id, {path}, std::move(answer));
}

void TreeLoader::discover(RepoNumber repo, const CommitId& id, Done<CommitNumber> done) {
  std::optional<RepoRow> row;
  store_.read([&](const ReadTxn& txn) { row = load_repo(txn, repo); });
  if (!row) return done(fail(Code::stale, "repository {} is not in the index", repo));
  const std::string key = fmt::format("{}@{}", repo, id.hex());
  if (missing_.knows(key))
    return done(fail(Code::not_found, "{} has no commit {}", row->id.text(), id.hex()));
  if (!discoveries_.join(key, std::move(done))) return;
  origin_.fetch_tree_page(row->canonical, id, "",
                          [self = shared_from_this(), repo, id, key](Result<TreePage> page) {
                            if (!page) {
                              if (page.error().code == Code::not_found)
                                self->missing_.remember(key, self->options_.missing_ttl);
                              return self->discoveries_.land(key, fail(page));
                            }
                            auto number = std::make_shared<CommitNumber>(0);
                            self->store_.write(
                                [self, repo, id, number, page = std::move(*page)](WriteTxn& txn) {
                                  *number = put_commit(txn, repo, id, self->clock_.wall());
                                  auto commit = load_commit(txn, *number);
                                  if (commit && !commit->started)
                                    self->put_page(txn, *commit, page);
                                },
                                [self, key, number](Result<void> written) {
                                  if (!written) return self->discoveries_.land(key, fail(written));
                                  self->discoveries_.land(key, *number);
                                });
                          });
}

}  // namespace hffs::catalog
