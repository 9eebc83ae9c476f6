// SPDX-License-Identifier: Apache-2.0
//
// What is fetched before anybody waits for it gives way to what somebody waits for.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "transfer_fixture.h"

namespace hffs {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kBlocks;
using test::kSize;
using test::MemoryBlob;

constexpr ByteRange kAll{0, kSize};

class TransferAhead : public test::TransferTest {
 protected:
  void want(const std::string& path, ByteRange range, bool ahead) {
    File& its = file(path);
    engine_->fetch(
        its.blob, its.sources, range, {},
        [&its](Result<void> result) { ++(result ? its.here : its.failed); }, ahead);
  }
};

TransferOptions slots(int count, BlockIndex blocks = 1) {
  return {.blocks_per_request = blocks,
          .requests_in_flight = count,
          .slot_patience = 1h,
          .first_ahead = count};
}

TEST_F(TransferAhead, ItComes) {
  start();
  EXPECT_TRUE(fetch_ahead(kAll));
  EXPECT_TRUE(blob_->right(kAll));
  EXPECT_TRUE(fetch(kAll));
  EXPECT_EQ(engine_->snapshot().requests, 0u);
}

TEST_F(TransferAhead, AQuarterOfTheSlotsIsForWhoWaits) {
  origin_.stalled = {"ahead"};
  start(slots(8));
  want("ahead", kAll, true);
  EXPECT_EQ(engine_->snapshot().requests, 6u);
  want("read", kAll, false);
  EXPECT_TRUE(eventually([&] { return file("read").here == 1; }));
  EXPECT_EQ(file("ahead").here, 0);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return file("ahead").here == 1; }));
}

// Its own bytes that are fetched ahead do not stand in the way of the one it waits for.
TEST_F(TransferAhead, AReaderOfTheSameBlobIsServedFirst) {
  origin_.stalled = {"x"};
  start(slots(8));
  want("x", bytes_of(BlockRun{0, 9}, kSize), true);
  EXPECT_EQ(engine_->snapshot().requests, 6u);
  want("x", bytes_of(BlockIndex{8}, kSize), false);  // still in the queue
  EXPECT_EQ(engine_->snapshot().requests, 7u);
  want("x", bytes_of(BlockIndex{10}, kSize), false);
  EXPECT_EQ(engine_->snapshot().requests, 8u);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return file("x").here == 3; }));
}

TEST_F(TransferAhead, WhatIsQueuedIsCutWhereSomebodyComesToWait) {
  origin_.stalled = {"busy"};
  start(slots(4, 8));
  for (BlockIndex block : {0, 1, 2}) want("busy", bytes_of(block, kSize), true);
  want("x", bytes_of(BlockRun{0, 8}, kSize), true);  // one request, queued
  EXPECT_EQ(engine_->snapshot().requests, 3u);
  want("x", bytes_of(BlockIndex{5}, kSize), false);
  EXPECT_TRUE(eventually([&] { return file("x").here == 1; }));
  EXPECT_TRUE(eventually([&] { return file("x").blob->readable(bytes_of(BlockRun{5, 3}, kSize)); }));
  EXPECT_FALSE(file("x").blob->readable(bytes_of(BlockIndex{4}, kSize)));
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return file("x").here == 2; }));
  EXPECT_EQ(file("x").blob->writes, 8);
}

TEST_F(TransferAhead, ItIsGivenUpAtTheFirstFailure) {
  std::atomic<int> attempts = 0;
  origin_.plan = [&](int, ByteRange) {
    ++attempts;
    return test::RangeOrigin::Plan{.cut_after = 100, .error = Error{Code::unreachable, "broken", {}}};
  };
  start();
  EXPECT_EQ(fetch_ahead({0, 10}).error().code, Code::unreachable);
  EXPECT_EQ(attempts, 1);
  origin_.plan = [](int, ByteRange) { return test::RangeOrigin::Plan{}; };
  EXPECT_TRUE(fetch({0, 10}));  // nothing of it is in the way
}

TEST_F(TransferAhead, WhoWaitsMakesItTryAgain) {
  origin_.plan = [&](int attempt, ByteRange) {
    if (attempt > 0) return test::RangeOrigin::Plan{};
    return test::RangeOrigin::Plan{
        .cut_after = 300'000, .error = Error{Code::unreachable, "broken", {}}, .stall_after = 100'000};
  };
  start();
  want("x", {0, 10}, true);
  want("x", {0, 10}, false);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return file("x").here == 2; }));
  EXPECT_EQ(file("x").failed, 0);
}

TEST_F(TransferAhead, AFewAtFirst) {
  origin_.stalled = {"x"};
  auto options = slots(16);
  options.first_ahead = 4;
  start(options);
  want("x", kAll, true);
  EXPECT_EQ(engine_->snapshot().requests, 4u);
}

// One connection of several hears nothing more: its range is begun anew, behind its last byte.
TEST_F(TransferAhead, AStalledRequestIsBegunAnewWhileOthersAreServed) {
  std::atomic<int> stalled = 0;
  origin_.plan = [&](int attempt, ByteRange) {
    test::RangeOrigin::Plan plan;
    if (attempt == 0) plan.stall_after = 300'000, ++stalled;
    return plan;
  };
  auto options = slots(8);
  options.stall_patience = 200ms;
  start(options);
  want("x", bytes_of(BlockIndex{0}, kSize), true);
  EXPECT_TRUE(eventually([&] { return stalled == 1; }));
  for (BlockIndex block = 1; block < kBlocks && file("x").here == 0; ++block) {
    std::this_thread::sleep_for(60ms);
    want("y", bytes_of(block, kSize), false);
  }
  EXPECT_TRUE(eventually([&] { return file("x").here == 1; }));
  EXPECT_EQ(file("x").failed, 0);
  EXPECT_TRUE(file("x").blob->right(bytes_of(BlockIndex{0}, kSize)));
}

// Nobody is served: it is the origin, or all wait for the one that is stuck.
TEST_F(TransferAhead, WhileAllAreSilentAStalledRequestHasTwiceAsLong) {
  origin_.plan = [](int attempt, ByteRange) {
    test::RangeOrigin::Plan plan;
    if (attempt < 2) plan.stall_after = 300'000;
    return plan;
  };
  auto options = slots(8);
  options.stall_patience = 600ms;
  start(options);
  const auto begun = std::chrono::steady_clock::now();
  want("x", bytes_of(BlockRun{0, 2}, kSize), false);
  EXPECT_TRUE(eventually([&] { return file("x").here == 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 1'200ms);
  EXPECT_TRUE(file("x").blob->right(bytes_of(BlockRun{0, 2}, kSize)));
}

TEST_F(TransferAhead, TheEndIsHeard) {
  origin_.stalled = {"x"};
  start(slots(4));
  want("x", kAll, true);
  engine_->stop();
  EXPECT_EQ(file("x").failed, 1);
}

}  // namespace
}  // namespace hffs
