// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>

#include "hffs/budget.h"
#include "hffs/policy.h"

namespace hffs {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

RepoId repo(std::string_view text) {
  return *RepoId::parse_user(text);
}

Policy::Rules rules(std::optional<std::vector<std::string>> allow, std::vector<std::string> deny) {
  const auto parsed = [](const std::vector<std::string>& texts) {
    std::vector<RepoPattern> patterns;
    for (const auto& text : texts) patterns.push_back(*RepoPattern::parse(text));
    return patterns;
  };
  Policy::Rules made{.allow = std::nullopt, .deny = parsed(deny)};
  if (allow) made.allow = parsed(*allow);
  return made;
}

TEST(RepoPatternTest, MatchesTheWholeNameOfItsTypeAlone) {
  struct Case {
    std::string_view pattern, repo;
    bool matches;
  };
  for (const auto& [pattern, name, matches] : std::initializer_list<Case>{
           {"acme/*", "acme/one", true},
           {"acme/*", "acme2/one", false},
           {"acme/*", "Acme/one", false},
           {"acme/*", "datasets/acme/one", false},
           {"acme/*", "acme", false},
           {"acme*", "acme/one", true},
           {"*", "gpt2", true},
           {"*", "acme/one", true},
           {"*", "datasets/squad", false},
           {"*/one", "acme/one", true},
           {"*/one", "datasets/one", false},
           {"acme/on?", "acme/one", true},
           {"acme/on?", "acme/on", false},
           {"acme/[no]ne", "acme/one", true},
           {"acme/one", "acme/one", true},
           {"acme/one", "acme/one2", false},
           {"acme/a.b", "acme/axb", false},
           {"datasets/acme/*", "datasets/acme/one", true},
           {"datasets/*", "datasets/squad", true},
           {"datasets/acme/*", "acme/one", false},
           {"spaces/acme/*", "spaces/acme/one", true},
           {"kernels/acme/*", "kernels/acme/one", true},
           {"kernels/acme/*", "spaces/acme/one", false}})
    EXPECT_EQ(RepoPattern::parse(pattern)->matches(repo(name)), matches) << pattern << " " << name;
}

TEST(RepoPatternTest, WhatCanMatchNothingIsRefused) {
  for (const char* text : {"", "/", "/acme", "acme/", "a/b/c", "models/acme/*", "models/*", "datasets/",
                           "datasets/a/b/c", "https://huggingface.co/acme/*", "acme/one two", "acme/\\*", "acmé/*"})
    EXPECT_FALSE(RepoPattern::parse(text)) << text;
  EXPECT_EQ(RepoPattern::parse("datasets/acme/*")->text(), "datasets/acme/*");
  EXPECT_EQ(RepoPattern::parse("acme/*")->text(), "acme/*");
}

TEST(PolicyTest, DenyWinsAndNoAllowIsAll) {
  EXPECT_TRUE(Policy(rules({}, {})).permits(repo("evil/one")));
  EXPECT_FALSE(Policy(rules({}, {})).restricts());
  EXPECT_FALSE(Policy(rules({}, {"evil/*"})).permits(repo("evil/one")));
  EXPECT_TRUE(Policy(rules({}, {"evil/*"})).permits(repo("acme/one")));
  const Policy both(rules({{"acme/*"}}, {"acme/secret*"}));
  EXPECT_TRUE(both.permits(repo("acme/one")));
  EXPECT_FALSE(both.permits(repo("acme/secret-one")));
  EXPECT_FALSE(both.permits(repo("other/one")));
  EXPECT_FALSE(both.permits(repo("datasets/acme/one")));
  EXPECT_TRUE(both.restricts());
  EXPECT_FALSE(Policy(rules(std::vector<std::string>{}, {})).permits(repo("acme/one")));  // an empty list
}

TEST(BudgetOfOwnersTest, SubordinateUidsAreTheirOwners) {
  Budget budget({.user_bytes = 100, .total_bytes = {}, .user_requests = 2}, 0, nullptr, system_clock(),
                [](uid_t user) { return user >= 100'000 ? uid_t{1'001} : user; });
  EXPECT_TRUE(budget.take_bytes(100'000, 60));
  EXPECT_FALSE(budget.take_bytes(100'001, 60));
  EXPECT_FALSE(budget.take_bytes(1'001, 60));
  EXPECT_TRUE(budget.take_bytes(1'002, 60));
  EXPECT_TRUE(budget.take_request(100'000));
  EXPECT_TRUE(budget.take_request(100'001));
  EXPECT_FALSE(budget.take_request(100'002));
}

TEST(PolicyTest, WhatIsNotPermittedIsNotAskedFor) {
  struct Inner final : AccessControl {
    explicit Inner(int& count) : asked(count) {}
    void decide(const Caller&, const RepoId&, Done<Pass> done) override {
      ++asked;
      done(Pass{.for_everybody = std::chrono::seconds(7)});
    }
    bool sees(const Caller&, const RepoId&) override { return true; }
    bool is_open(const RepoId&) override { return true; }
    int& asked;
  };
  int asked = 0;
  const auto access = enforce_policy(std::make_shared<const Policy>(rules({{"acme/*"}}, {})),
                                     std::make_unique<Inner>(asked));
  access->decide({}, repo("evil/one"), [](Result<Pass> pass) {
    ASSERT_FALSE(pass);
    EXPECT_EQ(pass.error().code, Code::not_found);
  });
  EXPECT_EQ(asked, 0);
  access->decide({}, repo("acme/one"), [](Result<Pass> pass) {
    ASSERT_TRUE(pass);
    EXPECT_EQ(pass->for_everybody, std::chrono::seconds(7));
  });
  EXPECT_EQ(asked, 1);
  EXPECT_FALSE(access->sees({}, repo("evil/one")));
  EXPECT_FALSE(access->is_open(repo("evil/one")));
  EXPECT_TRUE(access->sees({}, repo("acme/one")));
  // As the Hub calls it, it is another's.
  access->recall(repo("acme/one"), repo("evil/one"), {});
  EXPECT_FALSE(access->sees({}, repo("acme/one")));
  access->note(repo("acme/one"), repo("acme/one"), Visibility::open);
  EXPECT_TRUE(access->sees({}, repo("acme/one")));
}

class ManualClock final : public Clock {
 public:
  Instant now() const override { return Instant(std::chrono::seconds(time)); }
  WallTime wall() const override { return {}; }
  std::atomic<std::int64_t> time = 1'000'000;
};

constexpr uid_t kFirst = 1'001, kSecond = 1'002, kDaemons = 1'003;

class BudgetTest : public testing::Test {
 protected:
  std::unique_ptr<Budget> made(BudgetLimits limits) {
    return std::make_unique<Budget>(limits, kDaemons, std::make_shared<const Policy>(Policy::Rules{}),
                                    clock_);
  }
  void pass(std::chrono::seconds time) { clock_.time += time.count(); }
  static Code code(const Result<void>& result) { return result ? Code{255} : result.error().code; }

  ManualClock clock_;
};

TEST_F(BudgetTest, ADayIsFullToTheByteAndEndsAfterADay) {
  const auto budget = made({.user_bytes = 100});
  EXPECT_TRUE(budget->take_bytes(kFirst, 60));
  pass(hours(12));
  EXPECT_EQ(code(budget->take_bytes(kFirst, 41)), Code::over_quota);
  EXPECT_TRUE(budget->take_bytes(kFirst, 40));
  EXPECT_TRUE(budget->take_bytes(kSecond, 100)) << "another's";
  EXPECT_EQ(code(budget->take_bytes(kFirst, 1)), Code::over_quota);
  pass(hours(11) - minutes(1));
  EXPECT_EQ(code(budget->take_bytes(kFirst, 60)), Code::over_quota) << "not a day yet";
  pass(hours(1) + minutes(1));
  EXPECT_TRUE(budget->take_bytes(kFirst, 60));
  EXPECT_EQ(code(budget->take_bytes(kFirst, 1)), Code::over_quota);
  pass(hours(24 * 400));
  EXPECT_TRUE(budget->take_bytes(kFirst, 100));
}

TEST_F(BudgetTest, WhatIsTooMuchIsRefusedHoweverMuchItIs) {
  const auto budget = made({.user_bytes = 100});
  EXPECT_EQ(code(budget->take_bytes(kFirst, ~std::uint64_t{0})), Code::over_quota);
  EXPECT_TRUE(budget->take_bytes(kFirst, 100));
}

TEST_F(BudgetTest, AllTogetherAndWhoIsNeverRefused) {
  const auto budget = made({.user_bytes = 100, .total_bytes = 150});
  EXPECT_TRUE(budget->take_bytes(kFirst, 80));
  EXPECT_EQ(code(budget->take_bytes(kSecond, 71)), Code::over_quota);
  EXPECT_TRUE(budget->take_bytes(kSecond, 70));
  EXPECT_TRUE(budget->take_bytes(kDaemons, 1'000));
  EXPECT_TRUE(budget->take_bytes(0, 1'000));
  const auto state = budget->state();
  EXPECT_EQ(state.total_bytes, 2'150u);
  ASSERT_EQ(state.users.size(), 4u);
  EXPECT_EQ(state.users[1].user, kFirst);
  EXPECT_EQ(state.users[1].over, "");
  EXPECT_EQ(state.users[2].over, "total_bytes");
}

TEST_F(BudgetTest, QuestionsOfAnHour) {
  const auto budget = made({.user_requests = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget->take_request(kFirst));
  EXPECT_EQ(code(budget->take_request(kFirst)), Code::over_quota);
  EXPECT_EQ(budget->state().users[0].over, "user_requests");
  budget->give_request_back(kFirst);
  EXPECT_TRUE(budget->take_request(kFirst));
  pass(minutes(54));
  EXPECT_EQ(code(budget->take_request(kFirst)), Code::over_quota);
  pass(minutes(6));
  EXPECT_TRUE(budget->take_request(kFirst));
  EXPECT_EQ(budget->state().users[0].over, "");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(budget->take_request(0));
}

TEST_F(BudgetTest, QuestionsOfAllTogether) {
  const auto budget = made({.user_requests = 3, .total_requests = 4});
  EXPECT_TRUE(budget->take_request(0));
  EXPECT_TRUE(budget->take_request(kFirst));
  EXPECT_TRUE(budget->take_request(kFirst));
  EXPECT_TRUE(budget->take_request(kSecond));
  EXPECT_EQ(code(budget->take_request(kSecond)), Code::over_quota);
  EXPECT_EQ(budget->state().users[2].over, "total_requests");
  EXPECT_EQ(budget->state().total_requests, 4u);
  budget->give_request_back(kFirst);
  EXPECT_TRUE(budget->take_request(kSecond));
  EXPECT_TRUE(budget->take_request(0));
  EXPECT_FALSE(budget->take_request(kFirst));
  pass(minutes(60));
  EXPECT_TRUE(budget->take_request(kFirst));
}

TEST_F(BudgetTest, NothingIsOffAndOffIsAll) {
  const auto closed = made({.user_bytes = 0, .user_requests = 0});
  EXPECT_FALSE(closed->take_bytes(kFirst, 1));
  EXPECT_FALSE(closed->take_request(kFirst));
  const auto open = made({.user_bytes = std::nullopt, .user_requests = std::nullopt});
  EXPECT_TRUE(open->take_bytes(kFirst, ~std::uint64_t{0} / 2));
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(open->take_request(kFirst));
}

// A charge is what was begun for him and came.
TEST_F(BudgetTest, AChargeIsSettledInAnyOrder) {
  const auto used = [&](Budget& budget) {
    const auto state = budget.state();
    EXPECT_EQ(state.total_bytes, state.users.empty() ? 0 : state.users[0].bytes);
    return state.total_bytes;
  };
  struct Case {
    std::uint64_t begun, failed, left;
  };
  for (const auto& [begun, failed, left] :
       std::initializer_list<Case>{{10, 0, 10}, {4, 0, 4}, {0, 0, 0}, {10, 3, 7}, {4, 10, 0}}) {
    const auto budget = made({.user_bytes = 100});
    ASSERT_TRUE(budget->take_bytes(kFirst, 10));
    Charge charge(*budget, kFirst, 10);
    charge.begun(begun);
    charge.failed(failed);
    EXPECT_EQ(used(*budget), left);
    charge.begun(5);  // once more
    EXPECT_EQ(used(*budget), left + 5);
  }
  const auto budget = made({.user_bytes = 100});
  ASSERT_TRUE(budget->take_bytes(kFirst, 10));
  Charge charge(*budget, kFirst, 10);
  charge.failed(10);  // heard before fetch() had returned
  charge.begun(10);
  EXPECT_EQ(used(*budget), 0u);
}

}  // namespace
}  // namespace hffs
