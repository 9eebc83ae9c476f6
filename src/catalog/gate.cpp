// SPDX-License-Identifier: Apache-2.0
//
// The catalog's side of the gate (access.h): what the index keeps of it, and of which repositories a node is.
#include <algorithm>

#include "impl.h"

namespace hffs::catalog {
namespace {

// A licence text is in thousands of repositories.
constexpr std::size_t kMostRepos = 8'192, kMostQuestions = 8;

}  // namespace

void CatalogImpl::connect_gate() {
  access_.connect(
      [weak = weak_from_this()](const RepoId& repo, Done<RepoInfo> done) {
        const auto self = weak.lock();
        if (!self) return done(fail(Code::cancelled, "shutting down"));
        self->resolver_->look(repo, std::move(done));
      },
      [weak = weak_from_this()](const RepoId& repo, const Standing& standing) {
        const auto self = weak.lock();
        if (!self) return;
        self->resolver_->believe_again();
        self->trees_->believe_again();
        self->store_.write(
            [repo, standing, &store = self->store_](WriteTxn& txn) {
              if (const auto number = find_repo(txn, repo)) change_standing(txn, store, *number, standing);
            },
            [](Result<void>) {});
      });
  store_.read([&](const ReadTxn& txn) {
    visit_repos(txn, 0, [&](const RepoRow& repo) {
      access_.recall(repo.id, repo.canonical, repo.standing);
      if (repo.standing.visibility != Visibility::unknown) return true;
      visit_commits(txn, repo.number, {}, [&](std::string_view, std::uint64_t number) {
        const auto commit = load_commit(txn, static_cast<CommitNumber>(number));
        if (commit && commit->attested_by) access_.note_import(repo.id, *commit->attested_by);
        return true;
      });
      return true;
    });
  });
}

// Of each repository that the node is of, until one is enough. False: there is none.
bool CatalogImpl::visit_repos_of(NodeId node, const std::function<bool(const RepoId&)>& visit) {
  if (node.kind() != NodeKind::blob) {
    const auto repo = repo_of(node);
    if (repo) visit(*repo);
    return repo.has_value();
  }
  bool any = false;
  std::size_t seen = 0;
  store_.read([&](const ReadTxn& txn) {
    RepoNumber last = 0;
    visit_sources(txn, node.blob_number(), [&](const SourceRow& row) {
      if (row.repo == std::exchange(last, row.repo)) return true;
      const auto repo = load_repo(txn, row.repo);
      any = any || repo;
      return !repo || (visit(repo->id) && ++seen < kMostRepos);
    });
  });
  return any;
}

void CatalogImpl::admit(const Caller& caller, NodeId node, Done<void> done) {
  bool seen = false;
  std::vector<RepoId> doubtful;
  const bool any = visit_repos_of(node, [&](const RepoId& repo) {
    seen = access_.sees(caller, repo);
    // Of a blob's other repositories the Hub is not to hear by this.
    if (!seen && (node.kind() != NodeKind::blob || access_.worth_asking(caller, repo)))
      doubtful.push_back(repo);
    return !seen && doubtful.size() < kMostQuestions;
  });
  // The layout's own files, and marks of what is not there, are nobody's.
  if (seen || !any) return done({});
  std::ranges::reverse(doubtful);
  admit_to_one(caller, std::move(doubtful), std::nullopt, std::move(done));
}

bool CatalogImpl::sees(const Caller& caller, NodeId node) {
  bool seen = false;
  const bool any = visit_repos_of(node, [&](const RepoId& repo) {
    seen = access_.sees(caller, repo);
    return !seen;
  });
  return seen || !any;
}

// The last of them next.
void CatalogImpl::admit_to_one(const Caller& caller, std::vector<RepoId> repos,
                               std::optional<Error> refusal, Done<void> done) {
  if (repos.empty())
    return done(fail(refusal ? std::move(*refusal) : Error{Code::not_found, "no such file", {}}));
  const RepoId next = std::move(repos.back());
  repos.pop_back();
  auto decided = [self = shared_from_this(), caller, repos = std::move(repos),
                  refusal = std::move(refusal), done = std::move(done)](Result<Pass> pass) mutable {
    if (pass) return done({});
    // That it exists and is closed says more than that it is not there.
    if (!refusal || refusal->code == Code::not_found) refusal = std::move(pass.error());
    self->admit_to_one(caller, std::move(repos), std::move(refusal), std::move(done));
  };
  access_.decide(caller, next, std::move(decided));
}

}  // namespace hffs::catalog
