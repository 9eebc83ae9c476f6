// SPDX-License-Identifier: Apache-2.0
//
// The number of requests at once, against origins that are a formula. Time is virtual.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "pace.h"

namespace hffs::transfer {
namespace {

using namespace std::chrono_literals;

constexpr int kLeast = 4, kFirst = 8, kMost = 12;

class PaceTest : public testing::Test {
 protected:
  // Lets an origin serve for so long; gives what it gave on average in the second half.
  using Origin = std::function<double(int requests, double seconds)>;
  double serve(const Origin& origin, std::chrono::seconds time, double noise = 0.05) {
    std::normal_distribution<double> jitter(1.0, noise);
    const Instant begin = now_;
    double sum = 0, count = 0;
    while (now_ - begin < time) {
      now_ += 250ms;
      seconds_ += 0.25;
      const double rate = origin(pace_.limit(), seconds_) * std::max(0.1, jitter(random_));
      pace_.note(static_cast<std::uint64_t>(rate / 4));
      pace_.tick(now_, true);
      if (now_ - begin > time / 2) sum += rate, ++count;
    }
    return sum / count;
  }

  std::mt19937 random_{1};
  Instant now_{std::chrono::hours(1)};
  double seconds_ = 0;
  Pace pace_{kLeast, kFirst, kMost};
};

TEST_F(PaceTest, ManyAreTakenWhereEachHasItsOwnRate) {
  const auto each = [](int requests, double) { return 40e6 * requests; };
  EXPECT_GT(serve(each, 4s), 40e6 * kMost * 0.9);
  EXPECT_GT(serve(each, 20s), 40e6 * kMost * 0.9);  // a look at the least included
  EXPECT_EQ(pace_.limit(), kMost);
}

TEST_F(PaceTest, FewAreEnoughForALinkThatIsFull) {
  const auto link = [](int, double) { return 110e6; };
  EXPECT_GT(serve(link, 60s), 105e6);
  EXPECT_LE(pace_.limit(), 8);
}

TEST_F(PaceTest, WhoGivesATenthToACrowd) {
  for (const int crowd : {4, 5, 6, 9}) {
    pace_ = Pace(kLeast, kFirst, kMost);
    const auto origin = [&](int requests, double) {
      return (requests > crowd ? 0.1 : 1.0) * 10e6 * requests;
    };
    EXPECT_GT(serve(origin, 60s), 0.8 * 10e6 * std::min(crowd, 5)) << crowd;
  }
}

// What was good for a while is punished later: as an adaptive client was seen to collapse.
TEST_F(PaceTest, WhoBeginsToPunishIsAskedLess) {
  const auto origin = [](int requests, double seconds) {
    return (seconds > 20 && requests > 6 ? 0.02 : 1.0) * 40e6 * requests;
  };
  serve(origin, 20s);
  EXPECT_EQ(pace_.limit(), kMost);
  EXPECT_GT(serve(origin, 30s), 0.8 * 40e6 * 5);
}

TEST_F(PaceTest, ItComesBackAfterABadTime) {
  const auto origin = [](int requests, double seconds) {
    return (seconds > 10 && seconds < 30 ? 0.01 : 1.0) * 40e6 * requests;
  };
  serve(origin, 30s);
  EXPECT_GT(serve(origin, 90s), 0.8 * 40e6 * kMost);
}

TEST_F(PaceTest, ARefusalHalvesAndIsForgotten) {
  const auto each = [](int requests, double) { return 40e6 * requests; };
  serve(each, 8s);
  pace_.note_refusal(now_);
  EXPECT_EQ(pace_.limit(), kMost / 2);
  pace_.note_refusal(now_);
  EXPECT_EQ(pace_.limit(), kLeast);
  serve(each, 90s);
  EXPECT_EQ(pace_.limit(), kMost);
}

TEST_F(PaceTest, AnIdleTimeSaysNothing) {
  const auto each = [](int requests, double) { return 40e6 * requests; };
  serve(each, 8s);
  for (int i = 0; i < 400; ++i) pace_.tick(now_ += 250ms, false);
  EXPECT_EQ(pace_.limit(), kMost);
}

}  // namespace
}  // namespace hffs::transfer
