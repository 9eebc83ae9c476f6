// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>

#include "hffs/access.h"
#include "hffs/guarded.h"

namespace hffs {

struct Grants::Table {
  struct Grant {
    RepoId repo;  // as it was asked for
    uid_t user = 0;
    Secret token;
  };
  struct State {
    std::unordered_map<std::string, std::vector<Grant>> by_name;  // RepoId::text(); the latest is last
    std::unordered_map<std::string, RepoId> canonical;
  };
  Guarded<State> state;
  std::function<void(const RepoId&, uid_t)> refused = [](const RepoId&, uid_t) {};
};

Grants::Grants() : table_(std::make_unique<Table>()) {}
Grants::~Grants() = default;

Secret Grants::choose(const RepoId& repo) {
  auto state = table_->state.lock();
  const auto found = state->by_name.find(repo.text());
  if (found == state->by_name.end() || found->second.empty()) return {};
  return found->second.back().token;
}

bool Grants::note_refused(const RepoId& repo, const Secret& token) {
  std::vector<Table::Grant> gone;
  bool another = false;
  {
    auto state = table_->state.lock();
    const auto found = state->by_name.find(repo.text());
    if (found == state->by_name.end()) return false;
    std::erase_if(found->second, [&](const Table::Grant& grant) {
      const bool its = grant.token.reveal() == token.reveal();
      if (its) gone.push_back(grant);
      return its;
    });
    another = !gone.empty() && !found->second.empty();
  }
  for (const auto& grant : gone) {
    drop(grant.repo, grant.user);
    table_->refused(grant.repo, grant.user);
  }
  return another;
}

Result<Secret> Grants::token_of(const RepoId& repo, uid_t user) const {
  auto state = table_->state.lock();
  if (const auto found = state->by_name.find(repo.text()); found != state->by_name.end())
    for (const auto& grant : found->second)
      if (grant.user == user && grant.repo == repo) return grant.token;
  return fail(Code::timed_out, "the token of user {} cannot be read", user);
}

void Grants::add(const RepoId& repo, uid_t user, const Secret& token) {
  drop(repo, user);
  auto state = table_->state.lock();
  const Table::Grant grant{repo, user, token};
  state->by_name[repo.text()].push_back(grant);
  if (const auto real = state->canonical.find(repo.text()); real != state->canonical.end())
    state->by_name[real->second.text()].push_back(grant);
}

void Grants::alias(const RepoId& repo, const RepoId& canonical) {
  if (repo == canonical) return;
  auto state = table_->state.lock();
  if (!state->canonical.insert_or_assign(repo.text(), canonical).second) return;
  const auto found = state->by_name.find(repo.text());
  if (found == state->by_name.end()) return;
  auto grants = found->second;
  auto& there = state->by_name[canonical.text()];
  there.insert(there.end(), grants.begin(), grants.end());
}

void Grants::drop(const RepoId& repo, uid_t user) {
  auto state = table_->state.lock();
  for (auto& [name, grants] : state->by_name)
    std::erase_if(grants, [&](const Table::Grant& grant) { return grant.user == user && grant.repo == repo; });
}

void Grants::drop_all(const RepoId& repo) {
  auto state = table_->state.lock();
  for (auto& [name, grants] : state->by_name)
    std::erase_if(grants, [&](const Table::Grant& grant) { return grant.repo == repo; });
}

void Grants::on_refused(std::function<void(const RepoId&, uid_t)> hear) {
  table_->refused = std::move(hear);
}

}  // namespace hffs
