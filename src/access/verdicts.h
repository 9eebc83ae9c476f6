// SPDX-License-Identifier: Apache-2.0
//
// The verdicts. A question goes the same way whether the repository is another's or is not there at
// all, so that the time it takes tells nobody which: first what everybody may know, then the user's token.
// Threads and errors: as access.h, whose calls these are.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "hffs/access.h"
#include "hffs/flight.h"
#include "hffs/guarded.h"
#include "hffs/recent.h"
#include "hffs/wallet.h"

namespace hffs::access {

struct Reader {
  Instant checked{};
  bool checked_here = false;  // else an earlier process was told
};

struct Known {
  RepoId canonical;
  Visibility visibility = Visibility::unknown;
  Instant heard{};
  std::set<uid_t> importers;
  std::map<uid_t, Reader> readers;

  Standing standing() const {
    Standing kept{visibility, {}};
    for (const auto& [user, reader] : readers) kept.readers.push_back(user);
    return kept;
  }
};

struct Question {
  Caller caller;  // its uid is an owner
  RepoId repo;
  std::string key;
  Code refusal = Code::not_found;  // what it is for who is not let in
  bool found = false;  // gated, by everybody's right
  bool checked = false;  // with the user's
  bool looked = false;  // at what everybody may see
  std::optional<Code> refused{};  // before that: it holds unless everybody may
  bool proven = false;  // that there is none for everybody: a mirror's trouble with a login proves nothing
};

class Verdicts : public std::enable_shared_from_this<Verdicts> {
 public:
  Verdicts(AccessOptions options, Origin& origin, Wallet& wallet, Grants& grants,
           const Clock& clock)
      : options_(std::move(options)),
        origin_(origin),
        wallet_(wallet),
        grants_(grants),
        clock_(clock),
        gone_(clock),
        denied_(clock),
        private_(clock),
        looked_(clock),
        told_(clock) {}

  void connect(AccessControl::Look look, AccessControl::Keep keep) {
    look_ = std::move(look);
    keep_ = std::move(keep);
  }
  void decide(Caller caller, const RepoId& repo, Done<Pass> done);
  bool sees(const Caller& caller, const RepoId& repo);
  bool is_open(const RepoId& repo);
  bool lists(const Caller& caller, const RepoId& repo);
  bool worth_asking(const Caller& caller, const RepoId& repo);
  void recall(const RepoId& repo, const RepoId& canonical, const Standing& standing);
  std::optional<Standing> note(const RepoId& repo, const RepoId& canonical, Visibility visibility);
  void note_import(const RepoId& repo, uid_t importer);
  void forget(uid_t user);
  void refused(const RepoId& repo, uid_t user);

 private:
  // What is known: whom it is for, and whether to ask again behind him.
  struct Recalled {
    enum class For : std::uint8_t { nobody, user, everybody } whom = For::nobody;
    bool again = false;
    bool was_let_in = false;
    bool gated = false;
    bool unknown = false;  // no Hub has said
  };
  Recalled recalled(uid_t user, const RepoId& repo);
  std::string key_of(uid_t user, const RepoId& repo) const;

  void ask(Question question);
  void look_behind(const Caller& caller, const RepoId& repo);
  void ask_token(Question question);
  void check(Question question, Secret token);
  bool land_if_outdated(const Question& question);
  void let_in(const Question& question, const Secret& token);
  void turn_away(Question question, Code code);
  Error none_of(const RepoId& repo) const;
  void could_not_ask(const Question& question, Error error);
  void check_everybody(Question question, RepoId canonical);
  void tell(const Question& question, std::string_view what);

  const AccessOptions options_;
  Origin& origin_;
  Wallet& wallet_;
  Grants& grants_;
  const Clock& clock_;
  AccessControl::Look look_;
  AccessControl::Keep keep_;
  Guarded<std::unordered_map<std::string, Known>> known_;  // by RepoId::layout()
  Flight<Pass> flights_;
  Recent gone_, denied_, private_, looked_, told_;
  mutable Guarded<std::unordered_map<uid_t, std::uint64_t>> turns_;  // of each forget(): what was denied before counts no more
};

}  // namespace hffs::access
