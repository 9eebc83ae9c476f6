// SPDX-License-Identifier: Apache-2.0
//
// The transfer engine between an origin and a blob that live in memory.
#include "hffs/transfer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "transfer_fixture.h"

namespace hffs {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kSize;
using test::RangeOrigin;
using test::TransferTest;

TEST_F(TransferTest, FetchesJustTheBlocksOfTheRange) {
  start();
  ASSERT_TRUE(fetch({kBlockSize - 1, 2}));
  EXPECT_TRUE(blob_->right({0, 2 * kBlockSize}));
  EXPECT_EQ(origin_.delivered, 2 * kBlockSize);
  EXPECT_EQ(origin_.attempts, 1);
  ASSERT_TRUE(fetch({10, 10}));
  EXPECT_EQ(origin_.attempts, 1);
}

TEST_F(TransferTest, TheShortLastBlock) {
  start();
  ASSERT_TRUE(fetch({kSize - 5, 100}));
  EXPECT_TRUE(blob_->right({10 * kBlockSize, 123}));
  EXPECT_EQ(origin_.delivered, 123u);
}

TEST_F(TransferTest, ManyWaitersOneFetch) {
  start();
  std::atomic<int> left = 64;
  for (int i = 0; i < 64; ++i)
    engine_->fetch(blob_, sources_, {0, kSize}, {}, [&](Result<void> result) {
      EXPECT_TRUE(result);
      --left;
    });
  for (int i = 0; i < 1'000 && left > 0; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(left, 0);
  EXPECT_EQ(origin_.delivered, kSize);
  EXPECT_TRUE(blob_->right({0, kSize}));
}

TEST_F(TransferTest, ABlockThatIsBeingWrittenIsNotFetchedAgain) {
  blob_->hold = true;
  start();
  std::atomic<int> left = 2;
  const auto ask = [&] {
    engine_->fetch(blob_, sources_, {0, 1}, {}, [&](Result<void> result) {
      EXPECT_TRUE(result);
      --left;
    });
  };
  ask();
  ASSERT_TRUE(eventually([&] { return blob_->writes == 1; }));
  ask();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(left, 2) << "a block is here once it is written";
  blob_->let_go();
  ASSERT_TRUE(eventually([&] { return left == 0; }));
  EXPECT_EQ(origin_.attempts, 1);
}

TEST_F(TransferTest, ResumesBehindTheLastByte) {
  origin_.plan = [](int attempt, ByteRange) {
    RangeOrigin::Plan plan;
    if (attempt < 3) plan = {.cut_after = 300'000, .error = Error{Code::unreachable, "reset", {}}};
    return plan;
  };
  start();
  ASSERT_TRUE(fetch({0, kBlockSize}));
  EXPECT_TRUE(blob_->right({0, kBlockSize}));
  EXPECT_EQ(origin_.delivered, kBlockSize);  // no byte twice
  EXPECT_EQ(origin_.asked().back().offset, 900'000u);
}

TEST_F(TransferTest, APermanentRefusalEndsAtOnce) {
  origin_.plan = [](int, ByteRange) {
    return RangeOrigin::Plan{.cut_after = 0, .error = Error{Code::denied, "gated", {}}};
  };
  start();
  const auto result = fetch({0, 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::denied);
  EXPECT_EQ(origin_.attempts, 1);
  // The next one asks again.
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{}; };
  EXPECT_TRUE(fetch({0, 1}));
}

TEST_F(TransferTest, WhoRefusesForGoodGivesWayToTheNextSource) {
  sources_ = {source("gone/x"), source("gated/x"), source("a/b")};
  origin_.refusals = {{"gone/x", Code::not_found}, {"gated/x", Code::denied}};
  start({.blocks_per_request = 1});
  ASSERT_TRUE(fetch({0, 3 * kBlockSize}));
  EXPECT_TRUE(blob_->right({0, 3 * kBlockSize}));
  // From now on the one that gives is asked first.
  const int before = origin_.attempts;
  ASSERT_TRUE(fetch({5 * kBlockSize, 2 * kBlockSize}));
  EXPECT_EQ(origin_.attempts, before + 2);
  // Where all refuse the reader hears it.
  origin_.refusals["a/b"] = Code::not_found;
  const auto result = fetch({8 * kBlockSize, 1});
  ASSERT_FALSE(result);
  EXPECT_TRUE(result.error().code == Code::not_found || result.error().code == Code::denied);
}

TEST_F(TransferTest, ManyReadersOfRefusedBlocksAllGetThem) {
  sources_ = {source("gone/x"), source("a/b")};
  origin_.refusals = {{"gone/x", Code::not_found}};
  start({.blocks_per_request = 1});
  std::atomic<int> here = 0;
  constexpr int kReaders = 60;
  for (int i = 0; i < kReaders; ++i)
    engine_->fetch(blob_, sources_, bytes_of(BlockIndex(i % 11), kSize), {},
                   [&](Result<void> result) { here += result ? 1 : 1'000; });
  EXPECT_TRUE(eventually([&] { return here >= kReaders; }));
  EXPECT_EQ(here, kReaders);
}

TEST_F(TransferTest, TheDeadlineIsTheWaiters) {
  origin_.plan = [](int, ByteRange) {
    return RangeOrigin::Plan{.cut_after = 0, .error = Error{Code::unreachable, "refused", {}}};
  };
  start({.read_deadline = 150ms});
  const auto result = fetch({0, 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::timed_out);
  EXPECT_NE(result.error().message.find("refused"), std::string::npos);
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{}; };
  EXPECT_TRUE(fetch({0, 1}));
}

TEST_F(TransferTest, AWaiterCanBeCancelledWhileItsFetchStalls) {
  origin_.plan = [](int attempt, ByteRange) { return RangeOrigin::Plan{.stall = attempt == 0}; };
  start();
  std::stop_source stop;
  std::jthread canceller([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  const auto result = fetch({0, 1}, stop.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::cancelled);
  EXPECT_TRUE(fetch({5 * kBlockSize, 1}));  // another block is not held up
}

TEST_F(TransferTest, AStopRequestedBeforehandCancelsToo) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.stall = true}; };
  start();
  std::stop_source stop;
  stop.request_stop();
  const auto result = fetch({0, 1}, stop.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::cancelled);
}

TEST_F(TransferTest, AnOriginThatIgnoresRangesIsStreamedOnce) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.whole = true}; };
  start({.blocks_per_request = 1});
  std::atomic<int> left = 11;
  for (BlockIndex block = 0; block < 11; ++block)
    engine_->fetch(blob_, sources_, bytes_of(block, kSize), {}, [&](Result<void> result) {
      EXPECT_TRUE(result) << result.error().message;
      --left;
    });
  for (int i = 0; i < 1'000 && left > 0; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(left, 0);
  EXPECT_TRUE(blob_->right({0, kSize}));
  EXPECT_EQ(blob_->writes, 11);
}

TEST_F(TransferTest, ArrivingDataWaitsForTheDisk) {
  blob_->hold = true;
  start({.blocks_per_request = 16, .buffer_bytes = 3 * kBlockSize, .requests_in_flight = 1});
  std::atomic<bool> done = false;
  engine_->fetch(blob_, sources_, {0, kSize}, {}, [&](Result<void> result) {
    EXPECT_TRUE(result);
    done = true;
  });
  for (int i = 0; i < 500 && origin_.pauses == 0; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_GE(origin_.pauses, 1);
  EXPECT_LE(origin_.delivered, 5 * kBlockSize);
  EXPECT_LE(engine_->snapshot().buffered_bytes, 5 * kBlockSize);
  blob_->hold = false;
  for (int i = 0; i < 500 && !done; ++i) {
    blob_->let_go();
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(done);
  EXPECT_TRUE(blob_->right({0, kSize}));
  EXPECT_EQ(engine_->snapshot().buffered_bytes, 0u);
  EXPECT_EQ(engine_->snapshot().waiters, 0u);
}

TEST_F(TransferTest, WrongBytesAgainAndAgainAreNotFetchedForAMinute) {
  start({.corrupt_limit = 2});
  engine_->note_corrupt(1);
  EXPECT_TRUE(fetch({0, 1}));
  engine_->note_corrupt(1);
  const auto result = fetch({kBlockSize, 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::corrupt);
}

TEST_F(TransferTest, StoppingCompletesEveryWaiter) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.stall = true}; };
  start();
  std::atomic<int> cancelled = 0;
  for (int i = 0; i < 20; ++i)
    engine_->fetch(blob_, sources_, bytes_of(BlockIndex(i % 11), kSize), {},
                   [&](Result<void> result) {
                     if (!result && result.error().code == Code::cancelled) ++cancelled;
                   });
  engine_->stop();
  EXPECT_EQ(cancelled, 20);
}

TEST_F(TransferTest, MissingBlocksThatFollowEachOtherAreOneRequest) {
  start({.blocks_per_request = 8});
  ASSERT_TRUE(fetch({3 * kBlockSize, 1}));
  ASSERT_TRUE(fetch({0, kSize}));
  EXPECT_EQ(origin_.asked(), (std::vector<ByteRange>{{3 * kBlockSize, kBlockSize},
                                                     {0, 3 * kBlockSize},
                                                     {4 * kBlockSize, 6 * kBlockSize + 123}}));
}

TEST_F(TransferTest, AWaiterHearsWhenItsOwnBlocksAreThere) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.stall_after = 2'500'000}; };
  start();
  std::atomic<bool> all = false;
  engine_->fetch(blob_, sources_, {0, 4 * kBlockSize}, {}, [&](auto) { all = true; });
  EXPECT_TRUE(fetch({kBlockSize, 1}));
  EXPECT_FALSE(all);
  EXPECT_EQ(origin_.attempts, 1);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return bool(all); }));
}

TEST_F(TransferTest, DemandWaitsInTurnAndLeavesTheQueueWhenNobodyWantsIt) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.stall_after = 0}; };
  start({.blocks_per_request = 1, .requests_in_flight = 2});
  std::stop_source stop;
  std::atomic<int> here = 0, cancelled = 0;
  for (BlockIndex block = 0; block < 5; ++block)
    engine_->fetch(blob_, sources_, bytes_of(block, kSize),
                   block == 3 ? stop.get_token() : std::stop_token(),
                   [&](Result<void> result) { ++(result ? here : cancelled); });
  EXPECT_EQ(origin_.attempts, 2);
  EXPECT_EQ(engine_->snapshot().requests, 2u);
  stop.request_stop();
  EXPECT_EQ(cancelled, 1);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return here == 4; }));
  std::vector<std::uint64_t> order;
  for (const auto& range : origin_.asked()) order.push_back(range.offset / kBlockSize);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{0, 1, 2, 4}));
}

TEST_F(TransferTest, OneWaiterOfABlockCanGoWithoutTheOther) {
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.stall_after = 0}; };
  start();
  std::stop_source stop;
  std::atomic<int> here = 0;
  engine_->fetch(blob_, sources_, {0, 1}, stop.get_token(),
                 [&](Result<void> result) { EXPECT_FALSE(result); });
  engine_->fetch(blob_, sources_, {0, 1}, {}, [&](Result<void> result) { here += bool(result); });
  stop.request_stop();
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return here == 1; }));
  EXPECT_EQ(origin_.attempts, 1);
}

TEST_F(TransferTest, ARefusalEndsOnlyThoseWhoWaitForTheRefusedBlocks) {
  origin_.plan = [](int, ByteRange range) {
    RangeOrigin::Plan plan;
    if (range.offset == 0) plan = {.cut_after = 0, .error = Error{Code::denied, "gated", {}}};
    return plan;
  };
  start({.blocks_per_request = 1});
  std::atomic<bool> refused = false;
  engine_->fetch(blob_, sources_, {0, 2 * kBlockSize}, {}, [&](Result<void> result) {
    EXPECT_EQ(result.error().code, Code::denied);
    refused = true;
  });
  EXPECT_TRUE(fetch({kBlockSize, 1}));
  EXPECT_TRUE(eventually([&] { return bool(refused); }));
}

TEST(RetryDelay, DoublesToItsCeilingAndHonoursThePeer) {
  const TransferOptions options{.retry_first = 250ms, .retry_most = 4'000ms};
  EXPECT_EQ(transfer::retry_delay(options, 1, 0ms), 250ms);
  EXPECT_EQ(transfer::retry_delay(options, 2, 0ms), 500ms);
  EXPECT_EQ(transfer::retry_delay(options, 5, 0ms), 4'000ms);
  EXPECT_EQ(transfer::retry_delay(options, 500, 0ms), 4'000ms);
  EXPECT_EQ(transfer::retry_delay(options, 1, 9'000ms), 9'000ms);
}

}  // namespace
}  // namespace hffs
