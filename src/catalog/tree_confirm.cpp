// SPDX-License-Identifier: Apache-2.0
#include "tree_loader.h"

namespace hffs::catalog {
namespace {

// While the Hub cannot be heard it is asked this often, at most, for each commit that is in use.
constexpr std::chrono::milliseconds kConfirmPause{1'000};
// A folder that answers in the Hub's place is read again as often.
constexpr std::chrono::milliseconds kFolderPause{5'000};
// More than the Hub lets a repository have in a listing that one can use.
constexpr std::size_t kMostFiles = 1'000'000;

}  // namespace

void TreeLoader::confirm(CommitNumber commit, Done<void> done) {
  const std::string key = std::to_string(commit);
  const bool first = confirmations_.join(key, [done = std::move(done)](Result<bool> result) mutable {
    if (!result) return done(fail(result));
    done({});
  });
  if (first) gather(commit, std::make_shared<std::vector<TreeEntry>>(), "");
}

void TreeLoader::confirm_behind(CommitNumber commit) {
  const std::string key = std::to_string(commit);
  if (unconfirmed_.knows(key)) return;
  unconfirmed_.remember(key, kConfirmPause);
  confirm(commit, [self = shared_from_this(), commit, key](Result<void> confirmed) {
    if (confirmed) return;
    if (!info(confirmed.error().code).retry_helps)
      self->unconfirmed_.remember(key, self->options_.missing_ttl);
    log(Level::debug, "catalog", "commit number {} stays self-attested: {}", commit,
        confirmed.error().message);
  });
}

// All pages first: a tree is replaced as a whole or not at all.
void TreeLoader::gather(CommitNumber commit, std::shared_ptr<std::vector<TreeEntry>> entries,
                        const std::string& cursor) {
  const std::string key = std::to_string(commit);
  std::optional<CommitRow> row;
  std::optional<RepoRow> repo;
  store_.read([&](const ReadTxn& txn) {
    row = load_commit(txn, commit);
    if (row) repo = load_repo(txn, row->repo);
  });
  if (!row || !repo)
    return confirmations_.land(key, fail(Code::stale, "commit {} is not in the index", commit));
  if (!row->attested_by) return confirmations_.land(key, true);
  origin_.fetch_tree_page(
      repo->canonical, row->id, cursor,
      [self = shared_from_this(), commit, entries, key, what = repo->id.text() + '@' + row->id.hex()](
          Result<TreePage> page) {
        if (!page) return self->confirmations_.land(key, fail(page));
        if (page->attested_by) return self->attest_again(commit, std::move(*page));
        entries->insert(entries->end(), page->entries.begin(), page->entries.end());
        if (page->next && entries->size() > kMostFiles)
          return self->confirmations_.land(
              key, fail(Code::unsupported, "{} has too many files", what));
        if (page->next) return self->gather(commit, entries, *page->next);
        self->store_.write(
            [self, commit, entries](WriteTxn& txn) {
              const auto now = load_commit(txn, commit);
              if (now && now->attested_by) set_tree(txn, self->store_, *now, *entries, {});
            },
            [self, key, what](Result<void> written) {
              if (!written) return self->confirmations_.land(key, fail(written));
              log(Level::info, "catalog", "the Hub has listed {}: no longer self-attested", what);
              self->confirmations_.land(key, true);
            });
      });
}

// It is a folder that answers: no confirmation, but what it says now.
void TreeLoader::attest_again(CommitNumber commit, TreePage page) {
  unconfirmed_.remember(std::to_string(commit), kFolderPause);
  const auto not_confirmed = fail(Code::unreachable, "a folder has answered, and not the Hub");
  bool known = false;
  store_.read([&](const ReadTxn& txn) {
    const auto now = load_commit(txn, commit);
    known = !now || grows_into(page.entries, load_files(txn, store_, *now));
  });
  if (known) return confirmations_.land(std::to_string(commit), not_confirmed);
  store_.write(
      [self = shared_from_this(), commit, page = std::move(page)](WriteTxn& txn) {
        const auto now = load_commit(txn, commit);
        if (now && now->attested_by)
          attest_tree(txn, self->store_, *now, page.entries, *page.attested_by);
      },
      [self = shared_from_this(), commit, not_confirmed](Result<void> written) {
        const std::string key = std::to_string(commit);
        if (!written) return self->confirmations_.land(key, fail(written));
        self->confirmations_.land(key, not_confirmed);
      });
}

}  // namespace hffs::catalog
