// SPDX-License-Identifier: Apache-2.0
#include "verdicts.h"

#include <algorithm>

#include "hffs/telemetry.h"

namespace hffs::access {
namespace {

// As long as the kernel's own file systems usually believe a name.
constexpr std::chrono::milliseconds kEverybody{1'000};
// Being let in is noticed within this.
constexpr std::chrono::milliseconds kGated{2'000};
// What everybody may know is not asked more often, whoever waits for an answer.
constexpr std::chrono::milliseconds kLookPause{30'000};
constexpr std::chrono::milliseconds kTold{600'000};  // the same line in the log
constexpr std::string_view kAnonymous = ": no token is sent, as `anonymous` in the configuration says";

}  // namespace

std::string Verdicts::key_of(uid_t user, const RepoId& repo) const {
  auto turns = turns_.lock();
  const auto turn = turns->find(user);
  return fmt::format("{} {} {}", turn == turns->end() ? 0 : turn->second, user, repo.layout());
}

Verdicts::Recalled Verdicts::recalled(uid_t user, const RepoId& repo) {
  using For = Recalled::For;
  auto known = known_.lock();
  const auto found = known->find(repo.layout());
  if (found == known->end()) return {.unknown = true};
  const Known& its = found->second;
  const Instant now = clock_.now();
  if (its.visibility == Visibility::open)
    return {For::everybody, now - its.heard > options_.ttl};
  if (its.visibility == Visibility::unknown && !its.importers.empty()) {
    if (its.importers.contains(kFolderItself) || its.importers.contains(options_.own))
      return {For::everybody};
    if (its.importers.contains(user)) return {For::user};
  }
  Recalled verdict{.gated = its.visibility == Visibility::gated,
                   .unknown = its.visibility == Visibility::unknown};
  const auto reader = its.readers.find(user);
  if (reader == its.readers.end()) return verdict;
  verdict.was_let_in = true;
  const auto age = now - reader->second.checked;
  if (!reader->second.checked_here || age > 2 * options_.ttl) return verdict;
  verdict.whom = For::user;
  verdict.again = age > options_.ttl;
  return verdict;
}

void Verdicts::decide(Caller caller, const RepoId& repo, Done<Pass> done) {
  using For = Recalled::For;
  caller.uid = wallet_.owner_of(caller.uid);
  const Recalled verdict = recalled(caller.uid, repo);
  if (verdict.whom == For::everybody) {
    if (verdict.again) look_behind(caller, repo);
    return done(Pass{.for_everybody = kEverybody});
  }
  Question question{.caller = caller,
                    .repo = repo,
                    .key = key_of(caller.uid, repo),
                    .refusal = verdict.gated ? Code::denied : Code::not_found};
  if (verdict.whom == For::user) {
    if (verdict.again && flights_.join(question.key, [](const auto&) {}))
      ask_token(std::move(question));
    return done(Pass{});
  }
  if (gone_.knows(question.key)) return done(fail(none_of(repo)));
  if (denied_.knows(question.key)) return done(fail(Code::denied, "{} is gated", repo.text()));
  if (!flights_.join(question.key, std::move(done))) return;
  if (verdict.was_let_in) return ask_token(std::move(question));
  ask(std::move(question));
}

bool Verdicts::sees(const Caller& caller, const RepoId& repo) {
  return recalled(wallet_.owner_of(caller.uid), repo).whom != Recalled::For::nobody;
}

bool Verdicts::lists(const Caller& caller, const RepoId& repo) {
  const Recalled verdict = recalled(wallet_.owner_of(caller.uid), repo);
  return verdict.whom != Recalled::For::nobody || verdict.was_let_in;
}

bool Verdicts::worth_asking(const Caller& caller, const RepoId& repo) {
  const Recalled verdict = recalled(wallet_.owner_of(caller.uid), repo);
  return verdict.was_let_in || verdict.unknown;
}

bool Verdicts::is_open(const RepoId& repo) {
  auto known = known_.lock();
  const auto found = known->find(repo.layout());
  return found != known->end() && found->second.visibility == Visibility::open;
}

// What everybody may know comes first: nobody's token is needed for what is public.
void Verdicts::ask(Question question) {
  question.looked = true;
  const RepoId repo = question.repo;
  // Found by the daemon's own token a moment ago: as long as what was not found.
  if (private_.knows(repo.layout())) {
    question.proven = true;
    return ask_token(std::move(question));
  }
  look_(repo, [self = shared_from_this(), question = std::move(question)](
                  Result<RepoInfo> info) mutable {
    if (info && self->recalled(question.caller.uid, question.repo).whom == Recalled::For::everybody)
      return self->flights_.land(question.key, Pass{.for_everybody = kEverybody});
    if (question.refused && (!info || info->tells_access)) {
      const Code refused = *question.refused;
      return self->turn_away(std::move(question), refused);
    }
    if (info) {
      if (!info->tells_access) return self->check_everybody(std::move(question), info->id);
      question.refusal = info->is_gated && !info->is_private ? Code::denied : Code::not_found;
      question.found = question.refusal == Code::denied;
      question.proven = !question.found;
      if (!question.found)
        self->private_.remember(question.repo.layout(), self->options_.missing_ttl);
      return self->ask_token(std::move(question));
    }
    const Code code = info.error().code;
    if (code != Code::not_found && code != Code::needs_login && code != Code::denied)
      return self->could_not_ask(question, std::move(info.error()));
    if (code == Code::denied) question.refusal = Code::denied;
    question.proven = code == Code::not_found;
    self->ask_token(std::move(question));
  });
}

// It is there for the daemon, and nobody has said for whom else (no revision "main"; a mirror).
void Verdicts::check_everybody(Question question, RepoId canonical) {
  const RepoId repo = question.repo;
  origin_.check_access(repo, Secret(), [self = shared_from_this(), question = std::move(question),
                                        canonical](Result<void> may) mutable {
    if (!may) return self->ask_token(std::move(question));
    if (const auto standing = self->note(question.repo, canonical, Visibility::open))
      self->keep_(question.repo, *standing);
    self->flights_.land(question.key, Pass{.for_everybody = kEverybody});
  });
}

// A public repository may have become private, or be gone. What was public stays to be seen until
// somebody of this machine is known to have the private one, for then more may come.
void Verdicts::look_behind(const Caller& caller, const RepoId& repo) {
  if (looked_.knows(repo.layout())) return;
  looked_.remember(repo.layout(), kLookPause);
  look_(repo, [self = shared_from_this(), caller, repo](Result<RepoInfo> info) {
    // Who may not ask is no reason for others not to be asked about.
    if (!info && info.error().code == Code::over_quota) self->looked_.forget(repo.layout());
    if (info || info.error().code != Code::not_found) return;
    Question question{.caller = caller, .repo = repo, .key = self->key_of(caller.uid, repo), .looked = true};
    if (self->flights_.join(question.key, [](const auto&) {})) self->ask_token(std::move(question));
  });
}

void Verdicts::ask_token(Question question) {
  if (question.refused) {
    const Code refused = *question.refused;
    return turn_away(std::move(question), refused);
  }
  const Caller caller = question.caller;
  wallet_.find(caller, [self = shared_from_this(),
                        question = std::move(question)](Result<Secret> token) mutable {
    // A home that hangs takes nothing away while the token that was found there before is still good.
    if (!token) token = self->grants_.token_of(question.repo, question.caller.uid);
    if (!token) return self->flights_.land(question.key, fail(token));
    if (token->empty()) {
      // As for who has one: asked again soon, whether it is there or not.
      if (question.proven) self->gone_.remember(question.key, kGated);
      return self->turn_away(question, question.refusal);
    }
    question.checked = true;
    self->check(std::move(question), std::move(*token));
  });
}

void Verdicts::check(Question question, Secret token) {
  const RepoId repo = question.repo;
  origin_.check_access(repo, token, [self = shared_from_this(), question = std::move(question),
                                     token](Result<void> may) {
    if (may) return self->let_in(question, token);
    self->wallet_.doubt(question.caller.uid);
    switch (may.error().code) {
      case Code::not_found:
        self->gone_.remember(question.key, self->options_.missing_ttl);
        return self->turn_away(question, Code::not_found);
      case Code::denied:
      case Code::needs_login:
        // Of a private repository a bad token must not learn more than of one that is not there.
        if (question.refusal == Code::denied || may.error().code == Code::denied)
          return self->turn_away(question, Code::denied);
        self->gone_.remember(question.key, kGated);
        self->tell(question, fmt::format("the token of user {} is no good: {}", question.caller.uid,
                                         may.error().message));
        return self->turn_away(question, Code::not_found);
      case Code::over_quota:
        return self->flights_.land(question.key, fail(std::move(may.error())));
      default:
        return self->could_not_ask(question, std::move(may.error()));
    }
  });
}

// Asked before the user logged in or out: what comes of it is nothing about who he is now.
bool Verdicts::land_if_outdated(const Question& question) {
  if (question.key == key_of(question.caller.uid, question.repo)) return false;
  flights_.land(question.key, fail(Code::unreachable, "{}: it must be asked again", question.repo.text()));
  return true;
}

void Verdicts::let_in(const Question& question, const Secret& token) {
  if (land_if_outdated(question)) return;
  std::optional<Standing> changed;
  {
    auto known = known_.lock();
    Known& its = known->try_emplace(question.repo.layout(), Known{.canonical = question.repo}).first->second;
    const Standing before = its.standing();
    // Nobody but who is let in can see it, or the look before had found it.
    if (its.visibility != Visibility::gated) its.visibility = Visibility::hidden;
    its.readers[question.caller.uid] = {clock_.now(), true};
    grants_.add(question.repo, question.caller.uid, token);
    if (const Standing now = its.standing(); !(now == before)) changed = now;
  }
  if (changed) keep_(question.repo, *changed);
  flights_.land(question.key, Pass{});
}

void Verdicts::turn_away(Question question, Code code) {
  if (land_if_outdated(question)) return;
  std::optional<Standing> changed;
  {
    auto known = known_.lock();
    if (const auto found = known->find(question.repo.layout());
        found != known->end() && found->second.readers.erase(question.caller.uid) > 0)
      changed = found->second.standing();
  }
  grants_.drop(question.repo, question.caller.uid);
  if (changed) keep_(question.repo, *changed);
  // His own token was asked about first, for it had let him in. It may be public by now.
  if (!question.looked) {
    question.refused = code;
    return ask(std::move(question));
  }
  if (code == Code::denied && options_.anonymous)
    return flights_.land(question.key, fail(Code::denied, "{} is gated{}", question.repo.text(), kAnonymous));
  if (code == Code::denied) {
    // A refusal that came before anything was known of the repository is not remembered.
    if (question.found || question.checked) denied_.remember(question.key, kGated);
    tell(question, fmt::format("{0} is gated and user {1} has not been let in: ask for it at "
                               "{2}/{0}, and log in with `hffs login`",
                               question.repo.text(), question.caller.uid, options_.endpoint));
    return flights_.land(question.key,
                         fail(Code::denied, "{} is gated, and user {} has not been let in",
                              question.repo.text(), question.caller.uid));
  }
  flights_.land(question.key, fail(none_of(question.repo)));
}

// The same words whether there is one or not.
Error Verdicts::none_of(const RepoId& repo) const {
  return {Code::not_found, fmt::format("no {}repository {}{}", options_.anonymous ? "public " : "", repo.text(),
                                       options_.anonymous ? kAnonymous : ""), {}};
}

void Verdicts::tell(const Question& question, std::string_view what) {
  if (told_.knows(question.key)) return;
  told_.remember(question.key, kTold);
  log(Level::info, "access", "{}", what);
}

// What was last said holds, however long ago; and what no Hub has said anything of is the store's owner's.
void Verdicts::could_not_ask(const Question& question, Error error) {
  if (land_if_outdated(question)) return;
  bool was_let_in = false;
  {
    auto known = known_.lock();
    const auto found = known->find(question.repo.layout());
    was_let_in = error.code != Code::over_quota && found != known->end() &&
                 ((question.caller.uid == options_.own &&
                   found->second.visibility == Visibility::unknown) ||
                  found->second.readers.contains(question.caller.uid));
  }
  if (was_let_in) return flights_.land(question.key, Pass{});
  flights_.land(question.key, fail(std::move(error)));
}

void Verdicts::recall(const RepoId& repo, const RepoId& canonical, const Standing& standing) {
  auto known = known_.lock();
  Known& its = known->try_emplace(repo.layout(), Known{.canonical = canonical}).first->second;
  its.canonical = canonical;
  its.visibility = standing.visibility;
  its.heard = clock_.now();
  if (!options_.anonymous)
    for (const uid_t reader : standing.readers) its.readers.try_emplace(reader);
  grants_.alias(repo, canonical);
}

std::optional<Standing> Verdicts::note(const RepoId& repo, const RepoId& canonical, Visibility visibility) {
  auto known = known_.lock();
  Known& its = known->try_emplace(repo.layout(), Known{.canonical = canonical}).first->second;
  its.canonical = canonical;
  its.visibility = visibility;
  its.heard = clock_.now();
  grants_.alias(repo, canonical);
  if (visibility == Visibility::open) {
    its.readers.clear();
    grants_.drop_all(repo);
  }
  return its.standing();
}

void Verdicts::note_import(const RepoId& repo, uid_t importer) {
  auto known = known_.lock();
  known->try_emplace(repo.layout(), Known{.canonical = repo}).first->second.importers.insert(importer);
}

void Verdicts::forget(uid_t user) {
  ++(*turns_.lock())[user];
  auto known = known_.lock();
  for (auto& [name, its] : *known)
    if (const auto reader = its.readers.find(user); reader != its.readers.end()) {
      reader->second = {};
      grants_.drop(RepoId::parse_layout(name).value_or(its.canonical), user);
    }
}

void Verdicts::refused(const RepoId& repo, uid_t user) {
  auto known = known_.lock();
  const auto found = known->find(repo.layout());
  if (found == known->end()) return;
  // It may have been one file's own trouble: the gate asks.
  if (const auto reader = found->second.readers.find(user); reader != found->second.readers.end())
    reader->second = {};
}

}  // namespace hffs::access
