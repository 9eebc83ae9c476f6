// SPDX-License-Identifier: Apache-2.0
//
// Limits as numbers and words, and who goes.
#include <gtest/gtest.h>

#include "hffs/bounds.h"
#include "sizes.h"
#include "space.h"
#include "victims.h"

namespace hffs {
namespace {

using test::kGiB;

TEST(Bounds, SizesAreReadAsPeopleWriteThem) {
  const std::pair<std::string_view, std::uint64_t> good[] = {
      {"0", 0},
      {"1048576", 1'048'576},
      {"512B", 512},
      {"1K", 1'024},
      {"500G", 500 * kGiB},
      {"500g", 500 * kGiB},
      {"500GiB", 500 * kGiB},
      {"64 MiB", 64 * (kGiB >> 10)},
      {"1.5T", 1'536 * kGiB},
      {"2T", 2'048 * kGiB},
      {"500GB", 500'000'000'000},
      {"1P", 1'024 * 1'024 * kGiB},
  };
  for (const auto& [text, bytes] : good) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
  for (const std::string_view text :
       {"", "G", "-1", "5X", "5GG", "5Gi", "1e3", "nan", "inf", "10 %", "99999P", "5 G B"}) {
    const auto parsed = parse_size(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::invalid);
  }
}

TEST(Bounds, ASmallOrFullDiskStillCaches) {
  EXPECT_EQ(default_min_free(1'000 * kGiB, 900 * kGiB), 100 * kGiB);  // 10 %
  EXPECT_EQ(default_min_free(150 * kGiB, 140 * kGiB), 20 * kGiB);
  EXPECT_EQ(default_min_free(250 * kGiB, 30 * kGiB), 15 * kGiB);  // a laptop that is nearly full
  EXPECT_EQ(default_min_free(kGiB, kGiB), kGiB / 2);
  EXPECT_EQ(default_min_free(0, 0), 0u);
}

std::vector<std::uint64_t> go(std::vector<Candidate> candidates, std::uint64_t wanted) {
  return choose_victims(std::move(candidates), wanted).numbers;
}

TEST(Bounds, WhoWasOpenLongestAgoGoesFirst) {
  const std::vector<Candidate> three{{.number = 1, .bytes = 10, .last_open = 30},
                                     {.number = 2, .bytes = 10, .last_open = 10},
                                     {.number = 3, .bytes = 10, .last_open = 20}};
  EXPECT_EQ(go(three, 0), (std::vector<std::uint64_t>{}));
  EXPECT_EQ(go(three, 1), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(go(three, 11), (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(go(three, 1'000), (std::vector<std::uint64_t>{2, 3, 1}));
}

TEST(Bounds, OpenPinnedAndEmptyOnesStay) {
  const std::vector<Candidate> all{
      {.number = 1, .bytes = 10, .last_open = 1, .open = true},
      {.number = 2, .bytes = 10, .last_open = 2, .pinned = true},
      {.number = 3, .bytes = 0, .last_open = 3},
      {.number = 4, .bytes = 10, .last_open = 4},
  };
  EXPECT_EQ(go(all, 1'000), (std::vector<std::uint64_t>{4}));
}

TEST(Bounds, WhatIsOrderedGoesFirstAndCounts) {
  const std::vector<Candidate> all{
      {.number = 1, .bytes = 10, .last_open = 1},
      {.number = 2, .bytes = 10, .last_open = 2, .ordered = true},
      {.number = 3, .bytes = 7, .last_open = 3, .open = true, .ordered = true},
      {.number = 4, .bytes = 5, .last_open = 4, .open = true, .pinned = true, .ordered = true},
  };
  EXPECT_EQ(go(all, 0), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(go(all, 10), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(go(all, 11), (std::vector<std::uint64_t>{2, 1}));
  const Victims victims = choose_victims(all, 0);
  EXPECT_EQ(victims.bytes, 10u);
  EXPECT_EQ(victims.open_bytes, 7u);
  EXPECT_EQ(victims.pinned_bytes, 5u);
}

TEST(Bounds, RoomIsTakenOnceAndWhatIsMissingIsTold) {
  const auto usage = std::make_shared<UsageCounters>();
  Space space({.max_size = 1'000}, "/", usage);
  EXPECT_TRUE(space.take({600, 600}));
  EXPECT_FALSE(space.take({401, 401}));
  EXPECT_EQ(space.over({401, 401}), 1u);
  EXPECT_EQ(space.shortage({401, 401}), 1u);
  EXPECT_TRUE(space.take({400, 400}));
  EXPECT_EQ(space.shortage({}), 0u);
  space.give_back(500);
  EXPECT_EQ(space.used(), 500u);
  Space large({.max_size = 500 * kGiB}, "/", usage);
  EXPECT_EQ(large.shortage({500 * kGiB, 0}), 500u + 125 * (kGiB >> 10));  // with a margin
  // More than the disk has: nothing is ever taken, but for what lies there already.
  Space narrow({.max_size = 0, .min_free = std::uint64_t{1} << 60}, "/", usage);
  EXPECT_FALSE(narrow.take({1, 1}));
  EXPECT_TRUE(narrow.take({1, 0}));
}

}  // namespace
}  // namespace hffs
