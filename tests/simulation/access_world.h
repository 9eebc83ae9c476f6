// SPDX-License-Identifier: Apache-2.0
//
// A Hub with private, gated and public repositories that change, users who log in and out, and what of it the access
// cache may say. Answers come when the world delivers them. Threads: one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "hffs/access.h"
#include "hffs/wallet.h"
#include "manual_clock.h"
#include "trial.h"

namespace hffs::test {

class AccessWorld {
 public:
  explicit AccessWorld(Trial& trial);
  void step(Dice& dice);
  void finish();

 private:
  struct Repo {
    RepoId id;
    Visibility visibility = Visibility::hidden;  // unknown: it is not there
    std::set<std::string> may;                   // tokens
    bool ever_open = false, always_open = true, ever_gated = false;
  };
  // How long somebody has been allowed to see a repository, or not.
  struct Right {
    bool now = false;
    Instant since{};
    std::optional<Instant> last;  // when he was last; since the end of his last login
    bool ever = false;
  };
  struct Asked {
    uid_t user;
    std::size_t repo;
    Instant at, with;  // with: when the first of those began that are still open
    bool open = true;
  };
  struct Hub;
  struct Tokens;

  void deliver(Dice& dice);
  void ask(uid_t user, std::size_t repo);
  void hear(std::size_t question, const Result<Pass>& result);
  void update_rights();
  void check_grants();
  std::size_t number_of(const RepoId& id) const;

  static constexpr std::chrono::seconds kTtl{60}, kMissingTtl{10}, kNoticed{40};

  Trial& trial_;
  ManualClock clock_;
  std::vector<Repo> repos_;
  std::map<uid_t, std::string> tokens_;  // of who is logged in
  std::map<std::pair<uid_t, std::size_t>, Right> rights_;
  bool away_ = false;
  Instant was_away_{};
  std::deque<std::function<void()>> answers_;
  std::vector<Asked> asked_;
  std::map<std::size_t, Instant> slow_;  // when a refusal came late last
  std::set<std::string> given_up_;  // tokens that nobody has any more
  int logins_ = 0;
  std::shared_ptr<Origin> hub_;
  std::shared_ptr<Wallet> wallet_;
  Grants grants_;
  std::unique_ptr<AccessControl> access_;
};

}  // namespace hffs::test
