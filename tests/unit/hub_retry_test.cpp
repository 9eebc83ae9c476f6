// SPDX-License-Identifier: Apache-2.0
// Who is asked next, when, and when an endpoint is down.
#include <gtest/gtest.h>

#include "retry.h"

namespace hffs::hub {
namespace {

using Chosen = Choice::Kind;
using std::chrono::seconds;

const Instant kNow{seconds{1'000}};

Standing up(int wait = 0) {
  return {.up = true, .wait_until = kNow + seconds(wait)};
}
Standing asked() {
  return {.up = true, .asked = true, .wait_until = kNow};
}
Standing down() {
  return {.up = false, .wait_until = kNow};
}

TEST(ChooseEndpoint, Table) {
  struct Row {
    const char* name;
    std::vector<Standing> endpoints;
    bool fresh;
    Chosen kind;
    std::size_t endpoint = 0;
  };
  for (const Row& each : std::vector<Row>{
           {"the only one", {up()}, true, Chosen::ask, 0},
           {"the first of two", {up(), up()}, true, Chosen::ask, 0},
           {"the second, for the first is down", {down(), up()}, true, Chosen::ask, 1},
           {"the second, for the first was asked", {asked(), up()}, false, Chosen::ask, 1},
           {"the second, for the first asks us to wait", {up(5), up()}, true, Chosen::ask, 1},
           {"all asked", {asked(), asked()}, false, Chosen::round_over},
           {"the only one up was asked", {down(), asked()}, false, Chosen::round_over},
           {"all down, first look", {down(), down()}, true, Chosen::all_down},
           {"all down meanwhile", {down(), down()}, false, Chosen::ask, 0},
           {"wait for the earlier", {up(5), up(3)}, true, Chosen::wait, 1},
           {"wait beyond the deadline", {up(60), up(90)}, true, Chosen::too_late, 0},
           {"one asked, one to wait for", {asked(), up(3)}, false, Chosen::wait, 1}}) {
    const Choice choice = choose_endpoint(each.endpoints, each.fresh, kNow, kNow + seconds(8));
    EXPECT_EQ(choice.kind, each.kind) << each.name;
    if (each.kind != Chosen::round_over && each.kind != Chosen::all_down) {
      EXPECT_EQ(choice.endpoint, each.endpoint) << each.name;
    }
  }
}

TEST(FirstByteLimit, LeavesOthersTheirTurn) {
  EXPECT_EQ(first_byte_limit(Milliseconds{8'000}, 1, true), Milliseconds{4'000});
  EXPECT_EQ(first_byte_limit(Milliseconds{8'000}, 0, true), Milliseconds{5'000});
  EXPECT_EQ(first_byte_limit(Milliseconds{3'000}, 0, false), Milliseconds{3'000});
}

TEST(PauseAfter, EndsAfterThreeRounds) {
  EXPECT_EQ(pause_after(1), Milliseconds{200});
  EXPECT_EQ(pause_after(2), Milliseconds{800});
  EXPECT_EQ(pause_after(3), std::nullopt);
}

TEST(Health, ThreeFailuresInARow) {
  Health health;
  EXPECT_FALSE(health.note_failure(kNow, kNow + seconds(1), false, "refused"));
  EXPECT_FALSE(health.note_failure(kNow + seconds(2), kNow + seconds(3), false, "refused"));
  EXPECT_TRUE(health.up());
  EXPECT_TRUE(health.note_failure(kNow + seconds(4), kNow + seconds(5), false, "refused"));
  EXPECT_FALSE(health.up());
  EXPECT_EQ(health.last_error(), "refused");
  EXPECT_TRUE(health.note_answer(kNow + seconds(6)));
  EXPECT_TRUE(health.up());
  EXPECT_EQ(health.last_error(), "");
}

TEST(Health, FailuresAtOnceAreOne) {
  Health health;
  for (int i = 0; i < 16; ++i) health.note_failure(kNow, kNow + seconds(1), false, "reset");
  EXPECT_TRUE(health.up());
}

TEST(Health, OneSilenceIsEnoughUnlessItAnsweredOthers) {
  Health health;
  EXPECT_TRUE(health.note_failure(kNow, kNow + seconds(5), true, "silent"));
  EXPECT_FALSE(health.up());
  Health busy;
  busy.note_answer(kNow + seconds(3));
  EXPECT_FALSE(busy.note_failure(kNow, kNow + seconds(5), true, "silent"));
  EXPECT_TRUE(busy.up());
}

}  // namespace
}  // namespace hffs::hub
