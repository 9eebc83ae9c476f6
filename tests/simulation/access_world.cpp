// SPDX-License-Identifier: Apache-2.0
#include "access_world.h"

namespace hffs::test {
namespace {

constexpr uid_t kUsers[] = {1'001, 1'002, 1'003};

}  // namespace

struct AccessWorld::Hub final : Origin {
  explicit Hub(AccessWorld& its) : world(its) {}
  void fetch_revision(const RepoId& id, const std::string&, Done<RepoInfo> done) override {
    world.answers_.push_back([this, id, done = std::make_shared<Done<RepoInfo>>(std::move(done))] {
      const Repo& repo = world.repos_[world.number_of(id)];
      if (world.away_) return (*done)(fail(Code::unreachable, "away"));
      if (repo.visibility != Visibility::open && repo.visibility != Visibility::gated)
        return (*done)(fail(Code::not_found, "no repository"));
      (void)world.access_->note(id, id, repo.visibility);  // as the catalog does
      (*done)(RepoInfo{.id = id, .tells_access = true, .is_gated = repo.visibility == Visibility::gated});
    });
  }
  void check_access(const RepoId& id, Secret token, Done<void> done) override {
    const std::size_t number = world.number_of(id);
    if (!token.empty())
      world.trial_.check(!world.repos_[number].always_open, "U1: {} has always been public, and is asked for with a token",
                         id.text());
    world.answers_.push_back([this, number, token, done = std::make_shared<Done<void>>(std::move(done))] {
      const Repo& repo = world.repos_[number];
      if (world.away_) return (*done)(fail(Code::unreachable, "away"));
      if (repo.visibility == Visibility::open) return (*done)({});
      if (repo.visibility != Visibility::unknown && repo.may.contains(std::string(token.reveal()))) return (*done)({});
      (*done)(fail(repo.visibility == Visibility::gated ? Code::denied : Code::not_found, "no"));
    });
  }
  void fetch_tree_page(const RepoId&, const CommitId&, const std::string&, Done<TreePage>) override {}
  void fetch_paths(const RepoId&, const CommitId&, std::vector<std::string>, Done<std::vector<TreeEntry>>) override {}
  void fetch_refs(const RepoId&, Done<RefList>) override {}
  std::shared_ptr<RangeFetch> fetch_range(const FileSource&, ByteRange, std::shared_ptr<RangeSink>) override {
    return nullptr;
  }
  std::vector<Health> health() const override { return {}; }
  AccessWorld& world;
};

struct AccessWorld::Tokens final : Wallet {
  explicit Tokens(AccessWorld& its) : world(its) {}
  uid_t owner_of(uid_t user) const override { return user; }
  void find(const Caller& caller, Done<Secret> done) override {
    world.answers_.push_back([this, user = caller.uid, done = std::make_shared<Done<Secret>>(std::move(done))] {
      const auto token = world.tokens_.find(user);
      (*done)(Secret(token == world.tokens_.end() ? std::string() : token->second));
    });
  }
  void doubt(uid_t) override {}
  Result<void> keep(uid_t, const Secret&) override { return {}; }
  Result<bool> drop(uid_t) override { return true; }
  void stop() override {}
  AccessWorld& world;
};

AccessWorld::AccessWorld(Trial& trial) : trial_(trial) {
  Dice dice = trial.dice(3);
  for (int i = 0; i < 4; ++i) {
    Repo& repo = repos_.emplace_back(Repo{.id = *RepoId::parse_user(fmt::format("acme/r{}", i))});
    repo.visibility = static_cast<Visibility>(dice.below(4));
  }
  update_rights();
  clock_.advance(2 * kNoticed);
  hub_ = std::make_shared<Hub>(*this);
  wallet_ = std::make_shared<Tokens>(*this);
  access_ = open_access({.own = 0, .ttl = kTtl, .missing_ttl = kMissingTtl}, *hub_, *wallet_, grants_, clock_);
  access_->connect([this](const RepoId& repo, Done<RepoInfo> done) { hub_->look(repo, std::move(done)); },
                   [](const RepoId&, const Standing&) {});
}

std::size_t AccessWorld::number_of(const RepoId& id) const {
  for (std::size_t i = 0; i < repos_.size(); ++i)
    if (repos_[i].id == id) return i;
  return 0;
}

void AccessWorld::update_rights() {
  for (std::size_t i = 0; i < repos_.size(); ++i) {
    Repo& repo = repos_[i];
    repo.ever_open = repo.ever_open || repo.visibility == Visibility::open;
    repo.ever_gated = repo.ever_gated || repo.visibility == Visibility::gated;
    repo.always_open = repo.always_open && repo.visibility == Visibility::open;
    for (const uid_t user : kUsers) {
      const auto token = tokens_.find(user);
      const bool may = repo.visibility == Visibility::open ||
                       (repo.visibility != Visibility::unknown && token != tokens_.end() && repo.may.contains(token->second));
      Right& right = rights_[{user, i}];
      if (right.now) right.last = clock_.now();
      if (right.now != may) right.since = clock_.now();
      right.now = may;
      right.ever = right.ever || may;
      if (may) right.last = clock_.now();
    }
  }
}

void AccessWorld::step(Dice& dice) {
  const uid_t user = kUsers[dice.below(3)];
  const std::size_t which = dice.below(repos_.size());
  Repo& repo = repos_[which];
  switch (dice.weighted({30, 30, 6, 8, 6, 4, 14})) {
    case 0: ask(user, which); break;
    case 1: deliver(dice); break;
    case 2:
      repo.visibility = static_cast<Visibility>(dice.below(4));
      trial_.note("{} is {}", repo.id.text(), static_cast<int>(repo.visibility));
      break;
    case 3:
      if (const auto token = tokens_.find(user); token != tokens_.end()) {
        if (!repo.may.erase(token->second)) repo.may.insert(token->second);
        trial_.note("user {} {} read {}", user, repo.may.contains(token->second) ? "may" : "may not", repo.id.text());
      }
      break;
    case 4:  // logs in, or out: holds at once
      if (const auto token = tokens_.find(user); token != tokens_.end()) given_up_.insert(token->second);
      if (dice.chance(70))
        tokens_[user] = fmt::format("token-{}", ++logins_);
      else
        tokens_.erase(user);
      trial_.note("user {} has {}", user, tokens_.contains(user) ? tokens_[user] : "no token");
      if (tokens_.contains(user))
        for (Repo& each : repos_)
          if (dice.chance(40)) each.may.insert(tokens_[user]);
      for (std::size_t i = 0; i < repos_.size(); ++i) rights_[{user, i}].now = false, rights_[{user, i}].last.reset();
      access_->forget(user);
      check_grants();
      break;
    case 5:
      away_ = !away_;
      trial_.note("the Hub is {}", away_ ? "away" : "back");
      break;
    case 6: {
      const auto time = std::chrono::milliseconds(dice.below(dice.chance(50) ? 3'000 : 100'000));
      trial_.note("{} ms pass", time.count());
      update_rights();
      clock_.advance(time);
      break;
    }
  }
  if (away_) was_away_ = clock_.now();
  update_rights();
  check_grants();
}

void AccessWorld::deliver(Dice& dice) {
  for (std::uint64_t i = dice.between(1, 4); i > 0 && !answers_.empty(); --i) {
    const auto at = answers_.begin() + static_cast<long>(dice.below(answers_.size()));
    const auto answer = std::move(*at);
    answers_.erase(at);
    answer();
  }
}

void AccessWorld::ask(uid_t user, std::size_t repo) {
  Instant with = clock_.now();
  for (const Asked& each : asked_)
    if (each.open && each.user == user && each.repo == repo) with = std::min(with, each.with);
  const std::size_t number = asked_.size();
  trial_.note("question {}: may user {} see {}", number, user, repos_[repo].id.text());
  asked_.push_back({user, repo, clock_.now(), with});
  access_->decide(Caller{.uid = user}, repos_[repo].id, [this, number](Result<Pass> result) { hear(number, result); });
}

void AccessWorld::hear(std::size_t number, const Result<Pass>& result) {
  Asked& asked = asked_[number];
  const Repo& repo = repos_[asked.repo];
  const Right& right = rights_[{asked.user, asked.repo}];
  trial_.note("  question {}: {}", number, result ? "yes" : info(result.error().code).name);
  if (!trial_.check(asked.open, "invariant 5: question {} is answered twice", number)) return;
  asked.open = false;
  const Instant begin = std::min(asked.at, asked.with);
  const bool reached = !away_ && was_away_ < begin;
  if (result) {
    trial_.check(right.ever || repo.ever_open, "U2: user {} sees {}, whom nobody has let in", asked.user, repo.id.text());
    if (repo.ever_open) return;  // U14: what was public stays
    // U4: believed for a while; U8: for as long as the Hub cannot be asked; U5: not beyond the login.
    const bool believed = right.last && *right.last >= begin - 2 * kTtl;
    trial_.check(believed || !reached, "U4: user {} sees {}, which was taken from him long ago", asked.user, repo.id.text());
    trial_.check(tokens_.contains(asked.user) || begin < asked.at || right.last || asked.at < clock_.now(),
                 "U5: user {} has logged out, and sees {}", asked.user, repo.id.text());
    return;
  }
  // What a slow answer said of long ago is believed for a while, of the repository, too.
  auto& slow = slow_[asked.repo];
  const bool slow_before = slow + kNoticed >= begin;
  if (begin < clock_.now()) slow = clock_.now();
  const Code code = result.error().code;
  if (code == Code::unreachable) return;
  trial_.check(code == Code::not_found || (code == Code::denied && repo.ever_gated),
               "U2: user {} hears {} of {}, which was never gated", asked.user, info(code).name, repo.id.text());
  trial_.check(!(right.now && right.since + kNoticed < begin && !slow_before && reached && was_away_ + kNoticed < begin),
               "U3: user {} does not see {}, and has been let in long ago", asked.user, repo.id.text());
}

// U11, U5: a token that its user took back opens nothing more.
void AccessWorld::check_grants() {
  for (const Repo& repo : repos_) {
    const Secret token = grants_.choose(repo.id);
    if (token.empty()) continue;
    trial_.check(!repo.always_open, "U1: {} is public, and would be fetched with a user's token", repo.id.text());
    trial_.check(!given_up_.contains(std::string(token.reveal())), "U5: {} would be fetched with a token that was taken back",
                 repo.id.text());
  }
}

void AccessWorld::finish() {
  if (trial_.failed()) return;
  away_ = false;
  while (!answers_.empty()) {
    const auto answer = std::move(answers_.front());
    answers_.pop_front();
    answer();
  }
  for (std::size_t i = 0; i < asked_.size(); ++i) trial_.check(!asked_[i].open, "invariant 5: question {} is not answered", i);
  // All are asked once more, long after the last change: exactly who may is let in.
  clock_.advance(10 * kTtl);
  update_rights();
  for (auto& [key, right] : rights_)
    if (!right.now) right.last.reset();
  for (const uid_t user : kUsers)
    for (std::size_t repo = 0; repo < repos_.size(); ++repo) {
      ask(user, repo);
      while (!answers_.empty()) {
        const auto answer = std::move(answers_.front());
        answers_.pop_front();
        answer();
      }
      trial_.check(!asked_.back().open, "invariant 5: the last question is not answered");
    }
}

}  // namespace hffs::test
