// SPDX-License-Identifier: Apache-2.0
//
// Budget: how much the daemon fetches for one user, and for all of them. Content within the last 24
// hours, questions to the Hub within the last one. What is here costs nothing, and who is over the
// budget gets that, and only that. root and the user who runs the daemon are counted, never refused.
//
// Counted in memory, so a new worker begins with nothing. Threads: any; nothing blocks, but a
// question that begins, which looks at /proc (policy.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hffs/access.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/hub.h"
#include "hffs/policy.h"
#include "hffs/tally.h"

namespace hffs {

struct BudgetLimits {  // nothing: no limit
  // More than a day of training wants of what is not here, less than a grep over the Hub.
  std::optional<std::uint64_t> user_bytes = std::uint64_t{8} << 40;
  std::optional<std::uint64_t> total_bytes;
  // The Hub gives all of us together 12,000.
  std::optional<std::uint64_t> user_requests = 10'000;
  std::optional<std::uint64_t> total_requests;
};

class Budget {
 public:
  // `owner_of`: who answers for a uid (wallet.h); empty: each for itself.
  Budget(BudgetLimits limits, uid_t own, std::shared_ptr<const Policy> policy, const Clock& clock,
         std::function<uid_t(uid_t)> owner_of = {})
      : limits_(limits),
        own_(own),
        policy_(std::move(policy)),
        clock_(clock),
        owner_of_(std::move(owner_of)) {}

  // Why the caller's process must not make us fetch: denied. Logged, once an hour for each name.
  Result<void> may_fetch(const Caller& caller);
  // over_quota: it is too much. Logged, once an hour for each user.
  Result<void> take_bytes(uid_t user, std::uint64_t bytes);
  // … of what is fetched in any case.
  void add_bytes(uid_t user, std::uint64_t bytes);
  void give_bytes_back(uid_t user, std::uint64_t bytes);
  Result<void> take_request(uid_t user);
  void give_request_back(uid_t user);

  struct Figures {
    uid_t user = 0;
    std::uint64_t bytes = 0, requests = 0;
    std::string_view over;  // the limit that refused him last, and would do so again; empty: none
  };
  struct State {
    std::uint64_t total_bytes = 0, total_requests = 0;
    std::vector<Figures> users;  // who had anything fetched, by uid
  };
  State state() const;
  const BudgetLimits& limits() const { return limits_; }

 private:
  using Day = Tally<24>;
  using Hour = Tally<12>;
  struct User {
    Day bytes{std::chrono::hours(1)};
    Hour requests{std::chrono::minutes(5)};
    std::uint64_t refused_bytes = 0, refused_total = 0, refused_requests = 0, refused_total_requests = 0;  // how much, last
    std::optional<Instant> logged;
  };
  struct Counts {
    std::map<uid_t, User> users;
    Day total{std::chrono::hours(1)};
    Hour total_requests{std::chrono::minutes(5)};
    std::map<std::string, Instant> held_back;  // when that was logged
    std::unordered_map<pid_t, Instant> passed;  // threads that were looked at a moment ago
  };
  uid_t payer(uid_t user) const { return owner_of_ ? owner_of_(user) : user; }
  bool is_free(uid_t user) const { return user == 0 || user == own_; }
  User& user_of(Counts& counts, uid_t user, Instant now);
  std::string_view over(Counts& counts, User& user, Instant now) const;
  std::unexpected<Error> refuse(User& user, uid_t uid, std::string_view key, std::uint64_t limit,
                                Instant now) const;

  const BudgetLimits limits_;
  const uid_t own_;
  const std::shared_ptr<const Policy> policy_;
  const Clock& clock_;
  const std::function<uid_t(uid_t)> owner_of_;
  mutable Guarded<Counts> counts_;
};

// What one fetch costs whom. It is taken as a whole before, and what others fetch already, or did
// not come, is given back.
class Charge {
 public:
  Charge(Budget& budget, uid_t user, std::uint64_t taken) : budget_(budget), user_(user), held_(taken) {}
  // So much of it has been begun for him. Again: so much more.
  void begun(std::uint64_t bytes);
  // So much did not come.
  void failed(std::uint64_t bytes);

 private:
  Budget& budget_;
  const uid_t user_;
  Guarded<std::uint64_t> held_;
  bool settled_ = false;  // under the lock of held_
};

// Who asks the catalog something, and why he may not ask the Hub for it, if he may not.
class Asker {
 public:
  explicit Asker(const Caller& his) : caller(his) {}
  const Caller caller;
  std::optional<Error> refused() const { return *refused_.lock(); }
  void refuse(Error error) { *refused_.lock() = std::move(error); }

 private:
  mutable Guarded<std::optional<Error>> refused_;
};

// While it lives, this thread asks for him: metadata calls that begin are his. What follows from one
// on another thread is nobody's.
class Asking {
 public:
  explicit Asking(std::shared_ptr<Asker> asker);
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  ~Asking();
  static Asker* now();

 private:
  const std::shared_ptr<Asker> asker_;
  Asker* const before_;
};

// `origin`, but for metadata calls of an Asker who may not: they fail at once with over_quota. Both
// outlive it.
std::unique_ptr<Origin> charge_calls(Origin& origin, Budget& budget);

}  // namespace hffs
