// SPDX-License-Identifier: Apache-2.0
#include "impl.h"

namespace hffs::catalog {

Result<WholeTree> CatalogImpl::whole_tree(RepoNumber repo, const CommitId& id) {
  WholeTree tree;
  std::optional<CommitRow> commit;
  store_.read([&](const ReadTxn& txn) {
    if (const auto number = find_commit(txn, repo, id.hex())) commit = load_commit(txn, *number);
    if (!commit) return;
    tree.self_attested = commit->attested_by.has_value();
    visit_tree(txn, commit->number, 0, [&](const EntryRow& entry) {
      if (entry.kind != TreeEntry::Kind::file) return true;
      if (auto blob = store_.find_blob(txn, entry.blob))
        tree.files.push_back({path_of(txn, commit->number, entry.position), std::move(*blob)});
      return true;
    });
  });
  if (!commit) return fail(Code::not_found, "commit {} is not in the index", id.hex());
  return tree;
}

void CatalogImpl::ask_revision(const RepoId& repo, const std::string& revision,
                               Done<CommitId> done) {
  resolver_->resolve(
      repo, revision,
      [self = shared_from_this(), repo, revision,
       done = std::move(done)](Result<Resolution> answer) mutable {
        if (!answer) return done(fail(answer));
        if (answer->attested)
          return done(fail(Code::not_found, "only a folder has revision '{}' of {}", revision,
                           repo.text()));
        std::optional<CommitRow> commit;
        self->store_.read([&](const ReadTxn& txn) {
          if (answer->ref) commit = load_commit(txn, answer->ref->commit);
        });
        if (!commit)
          return done(fail(Code::not_found, "{} has no revision '{}'", repo.text(), revision));
        done(commit->id);
      });
}

void CatalogImpl::ask_tree(const RepoId& repo, const CommitId& commit, Done<WholeTree> done) {
  std::optional<RepoNumber> number;
  store_.read([&](const ReadTxn& txn) { number = find_repo(txn, repo); });
  if (number) return ask_commit(*number, commit, std::move(done));
  // Where the Hub has the repository its name joins the index on the way.
  resolver_->resolve(repo, "main",
                     [self = shared_from_this(), commit,
                      done = std::move(done)](Result<Resolution> answer) mutable {
                       if (!answer) return done(fail(answer));
                       self->ask_commit(answer->repo, commit, std::move(done));
                     });
}

void CatalogImpl::ask_commit(RepoNumber repo, const CommitId& id, Done<WholeTree> done) {
  auto answer = [self = shared_from_this(), repo, id,
                 done = std::move(done)](Result<void> listed) mutable {
    if (!listed) return done(fail(listed));
    auto tree = self->whole_tree(repo, id);
    if (tree && tree->self_attested)
      return done(fail(Code::not_found, "only a folder lists commit {}", id.hex()));
    done(std::move(tree));
  };
  std::optional<CommitRow> known;
  store_.read([&](const ReadTxn& txn) {
    if (const auto number = find_commit(txn, repo, id.hex())) known = load_commit(txn, *number);
  });
  if (known && known->attested_by) return trees_->confirm(known->number, std::move(answer));
  if (known) return trees_->complete(known->number, std::move(answer));
  trees_->discover(repo, id,
                   [self = shared_from_this(),
                    answer = std::move(answer)](Result<CommitNumber> number) mutable {
                     if (!number) return answer(fail(number));
                     self->trees_->complete(*number, std::move(answer));
                   });
}

void CatalogImpl::attest(Attestation said, Done<WholeTree> done) {
  auto repo = std::make_shared<RepoNumber>(0);
  const CommitId id = said.commit;
  store_.write(
      [self = shared_from_this(), said = std::move(said), repo](WriteTxn& txn) {
        const WallTime now = self->clock_.wall();
        self->access_.note_import(said.repo, said.importer);
        const auto known = find_repo(txn, said.repo);
        *repo = known ? *known : put_repo(txn, said.repo, said.repo, now);
        const auto commit = load_commit(txn, put_commit(txn, *repo, said.commit, now));
        if (commit) attest_tree(txn, self->store_, *commit, said.files, said.importer);
      },
      [self = shared_from_this(), repo, id, done = std::move(done)](Result<void> written) mutable {
        if (!written) return done(fail(written));
        done(self->whole_tree(*repo, id));
      });
}

void CatalogImpl::attest_ref(const RepoId& id, const std::string& revision, const CommitId& commit,
                             Done<bool> done) {
  auto taken = std::make_shared<bool>(false);
  store_.write(
      [self = shared_from_this(), id, revision, commit, taken](WriteTxn& txn) {
        *taken = false;
        const auto repo = find_repo(txn, id);
        const auto number = repo ? find_commit(txn, *repo, commit.hex()) : std::nullopt;
        if (!number) return;
        if (const auto ref = load_ref(txn, *repo, revision); ref && ref->commit != *number) {
          const auto other = load_commit(txn, ref->commit);
          if (ref->directory || (other && !other->attested_by)) return;
        }
        put_ref(txn, *repo, revision, *number, self->clock_.wall());
        *taken = true;
      },
      [taken, done = std::move(done)](Result<void> written) mutable {
        if (!written) return done(fail(written));
        done(*taken);
      });
}

std::vector<SelfAttested> CatalogImpl::self_attested(std::size_t most) const {
  std::vector<SelfAttested> found;
  store_.read([&](const ReadTxn& txn) {
    for (const CommitNumber number : find_self_attested(txn, most)) {
      const auto commit = load_commit(txn, number);
      if (const auto repo = load_repo(txn, commit->repo))
        found.push_back({repo->id, commit->id, *commit->attested_by});
    }
  });
  return found;
}

}  // namespace hffs::catalog
