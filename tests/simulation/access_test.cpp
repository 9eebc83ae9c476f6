// SPDX-License-Identifier: Apache-2.0
//
// Random rights on a Hub and what the access cache says of them; random takes from a budget (see README.md).
#include <gtest/gtest.h>

#include "access_world.h"
#include "hffs/budget.h"

namespace hffs::test {
namespace {

using namespace std::chrono_literals;

TEST(Simulation, Access) {
  simulate({.seeds = 1'000, .steps = 120, .body = [](Trial& trial) {
              AccessWorld world(trial);
              trial.each_step([&](Dice& dice) { world.step(dice); });
              world.finish();
            }});
}

// What was counted when; the oldest part of the span falls out as a whole.
struct Counted {
  std::chrono::seconds part;
  std::uint64_t parts;
  std::map<std::uint64_t, std::uint64_t> by_part;
  std::uint64_t at(Instant now) const { return static_cast<std::uint64_t>(now.time_since_epoch() / part); }
  void add(Instant now, std::uint64_t amount) { by_part[at(now)] += amount; }
  void take_back(Instant now, std::uint64_t amount) {
    for (auto each = by_part.rbegin(); each != by_part.rend() && each->first + parts > at(now); ++each) {
      const std::uint64_t less = std::min(amount, each->second);
      each->second -= less;
      amount -= less;
    }
  }
  std::uint64_t sum(Instant now) const {
    std::uint64_t all = 0;
    for (const auto& [number, amount] : by_part)
      if (number + parts > at(now)) all += amount;
    return all;
  }
};

TEST(Simulation, Budget) {
  simulate({.seeds = 1'000, .steps = 150, .body = [](Trial& trial) {
    Dice setup = trial.dice(3);
    ManualClock clock;
    BudgetLimits limits{.user_bytes = setup.between(500, 3'000), .user_requests = setup.between(3, 20)};
    if (setup.chance(50)) limits.total_bytes = setup.between(1'000, 5'000);
    Budget budget(limits, 500, nullptr, clock);
    std::map<uid_t, Counted> bytes, requests;
    Counted total{1h, 24, {}};
    constexpr uid_t kPayers[] = {0, 500, 1'001, 1'002};  // the first two are never refused
    trial.each_step([&](Dice& dice) {
      const uid_t user = kPayers[dice.below(4)];
      const Instant now = clock.now();
      Counted& his = bytes.try_emplace(user, Counted{1h, 24, {}}).first->second;
      Counted& asked = requests.try_emplace(user, Counted{5min, 12, {}}).first->second;
      const std::uint64_t amount = dice.between(1, 900);
      switch (dice.weighted({40, 15, 25, 20})) {
        case 0: {
          const bool free = user == 0 || user == 500;
          const bool fits = free || (his.sum(now) + amount <= *limits.user_bytes &&
                                     (!limits.total_bytes || total.sum(now) + amount <= *limits.total_bytes));
          const auto taken = budget.take_bytes(user, amount);
          trial.note("user {} takes {}: {}", user, amount, taken ? "yes" : "no");
          trial.check(taken.has_value() == fits, "user {} takes {} bytes: {}, and {} is right", user, amount,
                      taken.has_value(), fits);
          if (fits) his.add(now, amount), total.add(now, amount);
          break;
        }
        case 1:
          trial.note("{} come back from user {}", amount, user);
          budget.give_bytes_back(user, std::min(amount, his.sum(now)));
          total.take_back(now, std::min(amount, his.sum(now)));
          his.take_back(now, std::min(amount, his.sum(now)));
          break;
        case 2: {
          const bool fits = user == 0 || user == 500 || asked.sum(now) < *limits.user_requests;
          trial.check(budget.take_request(user).has_value() == fits, "user {} has asked {} times, of {}", user,
                      asked.sum(now), *limits.user_requests);
          if (fits) asked.add(now, 1);
          break;
        }
        case 3: clock.advance(std::chrono::minutes(dice.below(dice.chance(70) ? 30 : 600))); break;
      }
      const auto state = budget.state();
      trial.check(state.total_bytes == total.sum(clock.now()), "{} bytes are counted, {} were", state.total_bytes,
                  total.sum(clock.now()));
      for (const auto& figures : state.users)
        trial.check(figures.bytes == bytes.at(figures.user).sum(clock.now()) &&
                        figures.requests == (requests.contains(figures.user) ? requests.at(figures.user).sum(clock.now()) : 0),
                    "{} bytes and {} questions of user {} are counted", figures.bytes, figures.requests, figures.user);
    });
  }});
}

}  // namespace
}  // namespace hffs::test
