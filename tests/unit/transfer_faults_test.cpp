// SPDX-License-Identifier: Apache-2.0
//
// What goes wrong between an origin and a blob: answers that break, lie or come whole; a disk that
// is slow, full or broken; all of it at once.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "manual_clock.h"
#include "transfer_fixture.h"

namespace hffs {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kSize;
using test::MemoryBlob;
using test::RangeOrigin;

class TransferFaults : public test::TransferTest {};

TEST_F(TransferFaults, AnAnswerThatEndsEarlyIsNotTheWholeAnswer) {
  origin_.plan = [](int attempt, ByteRange) {
    return RangeOrigin::Plan{.cut_after = attempt < 2 ? 400'000 : ~0ull};
  };
  start();
  ASSERT_TRUE(fetch({0, 2 * kBlockSize}));
  EXPECT_TRUE(blob_->right({0, 2 * kBlockSize}));
  EXPECT_EQ(origin_.delivered, 2 * kBlockSize);
}

TEST_F(TransferFaults, ABreakBehindTheLastByteCostsNothing) {
  blob_->hold = true;  // the blocks are still on their way when the break is heard of
  origin_.plan = [](int, ByteRange) {
    return RangeOrigin::Plan{.error = Error{Code::unreachable, "reset", {}}};
  };
  start();
  std::atomic<bool> done = false;
  engine_->fetch(blob_, sources_, {0, kBlockSize}, {}, [&](Result<void> result) {
    EXPECT_TRUE(result);
    done = true;
  });
  EXPECT_TRUE(eventually([&] { return engine_->snapshot().requests == 0; }));
  std::this_thread::sleep_for(50ms);
  blob_->let_go();
  EXPECT_TRUE(eventually([&] { return bool(done); }));
  EXPECT_EQ(origin_.attempts, 1);
}

TEST_F(TransferFaults, AnAnswerThatBeginsElsewhereIsCutIntoTheRightBlocks) {
  for (const std::int64_t shift : {-100, -1'500'000, 100}) {
    origin_.plan = [&](int attempt, ByteRange) {
      return RangeOrigin::Plan{.shift = attempt == 0 ? shift : 0};
    };
    origin_.attempts = 0;
    blob_ = std::make_shared<MemoryBlob>(kSize);
    start();
    ASSERT_TRUE(fetch({2 * kBlockSize, kBlockSize}));
    EXPECT_TRUE(blob_->right({2 * kBlockSize, kBlockSize})) << shift;
    EXPECT_FALSE(blob_->readable({0, kBlockSize})) << shift;
    engine_->stop();
  }
}

TEST_F(TransferFaults, APeersWishToWaitIsHonoured) {
  origin_.plan = [](int attempt, ByteRange) {
    RangeOrigin::Plan plan;
    if (attempt == 0)
      plan = {.cut_after = 0, .error = Error{Code::rate_limited, "slow down", 120ms}};
    return plan;
  };
  start();
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(fetch({0, 1}));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 120ms);
  EXPECT_EQ(origin_.attempts, 2);
}

TEST_F(TransferFaults, AFullDiskServesTheReaderABrokenOneDoesNot) {
  blob_->write_result = [](BlockIndex block) -> Result<void> {
    if (block == 0) return fail(Code::no_space, "full");
    if (block == 1) return fail(Code::io, "broken");
    return {};
  };
  start();
  EXPECT_TRUE(fetch({0, 1}));
  const auto broken = fetch({kBlockSize, kBlockSize});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::io);
  EXPECT_TRUE(fetch({2 * kBlockSize, 1}));
}

TEST_F(TransferFaults, OneBlockOfAnOriginThatIgnoresRangesBringsAllBlocks) {
  origin_.plan = [](int, ByteRange) {
    return RangeOrigin::Plan{.whole = true, .stall_after = 3'000'000};
  };
  start({.blocks_per_request = 1});
  std::atomic<int> here = 0;
  const auto count = [&](Result<void> result) { here += bool(result); };
  engine_->fetch(blob_, sources_, {5 * kBlockSize, 1}, {}, count);
  EXPECT_TRUE(eventually([&] { return origin_.delivered >= kBlockSize; }));
  engine_->fetch(blob_, sources_, {9 * kBlockSize, 1}, {}, count);
  EXPECT_TRUE(fetch({0, 1}));  // as it comes
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return here == 2 && blob_->readable({0, kSize}); }));
  EXPECT_TRUE(blob_->right({0, kSize}));
  EXPECT_EQ(origin_.attempts, 1);
  EXPECT_EQ(blob_->writes, 11);
}

TEST_F(TransferFaults, ABrokenWholeStreamWritesNoBlockTwice) {
  origin_.plan = [](int attempt, ByteRange) {
    RangeOrigin::Plan plan{.whole = true};
    if (attempt < 3) {
      plan.cut_after = 2'500'000u * static_cast<unsigned>(attempt + 1);
      plan.error = Error{Code::unreachable, "reset", {}};
    }
    return plan;
  };
  start();
  ASSERT_TRUE(fetch({10 * kBlockSize, 1}));
  EXPECT_TRUE(blob_->right({0, kSize}));
  EXPECT_EQ(blob_->writes, 11);
  EXPECT_EQ(engine_->snapshot().buffered_bytes, 0u);
}

TEST_F(TransferFaults, APauseThatEndsBeforeTheHandleIsKnownIsNotLost) {
  blob_->hold = true;
  origin_.plan = [](int, ByteRange) { return RangeOrigin::Plan{.late_handle = true}; };
  origin_.before_handle = [&] {
    EXPECT_TRUE(eventually([&] { return origin_.pauses > 0; }));
    blob_->hold = false;
    blob_->let_go();
  };
  start({.blocks_per_request = 16, .buffer_bytes = 2 * kBlockSize});
  EXPECT_TRUE(fetch({0, kSize}));
}

TEST_F(TransferFaults, ABufferSmallerThanTheHalfBlocksDoesNotDeadlock) {
  start({.blocks_per_request = 1, .buffer_bytes = 1, .requests_in_flight = 11});
  std::atomic<int> here = 0;
  for (BlockIndex block = 0; block < 11; ++block)
    engine_->fetch(blob_, sources_, bytes_of(block, kSize), {},
                   [&](Result<void> result) { here += bool(result); });
  EXPECT_TRUE(eventually([&] { return here == 11; }));
}

TEST_F(TransferFaults, ACompletionMayCallBack) {
  start();
  std::atomic<bool> done = false;
  engine_->fetch(blob_, sources_, {0, 1}, {}, [&](Result<void>) {
    EXPECT_EQ(engine_->snapshot().waiters, 0u);
    engine_->fetch(blob_, sources_, {kBlockSize, 1}, {}, [&](auto) { done = true; });
  });
  EXPECT_TRUE(eventually([&] { return bool(done); }));
}

// The block is readable when its first byte comes, and no more when its last one has come.
TEST_F(TransferFaults, ABlockThatIsLostWhileItIsSkippedIsFetchedAgain) {
  origin_.plan = [&](int attempt, ByteRange) {
    if (attempt > 0) return RangeOrigin::Plan{};
    blob_->write(1, std::vector<std::byte>(kBlockSize), [](Result<void>) {});
    return RangeOrigin::Plan{.stall_after = kBlockSize + 500'000};
  };
  start();
  std::atomic<int> here = 0;
  engine_->fetch(blob_, sources_, {0, 2 * kBlockSize}, {},
                 [&](Result<void> result) { here += bool(result); });
  EXPECT_TRUE(eventually([&] { return origin_.delivered >= kBlockSize + 400'000; }));
  blob_->lose(1);
  origin_.let_go();
  EXPECT_TRUE(eventually([&] { return here == 1; }));
  EXPECT_TRUE(blob_->right({0, 2 * kBlockSize}));
  EXPECT_EQ(origin_.asked().back(), (ByteRange{kBlockSize, kBlockSize}));
}

TEST_F(TransferFaults, AfterAMinuteWrongBytesAreForgiven) {
  test::ManualClock clock;
  engine_ = std::make_shared<transfer::Engine>(TransferOptions{}, origin_, clock, metrics_);
  engine_->start();
  for (int i = 0; i < 3; ++i) engine_->note_corrupt(1);
  EXPECT_FALSE(fetch({0, 1}));
  clock.advance(std::chrono::milliseconds(59'000));
  EXPECT_FALSE(fetch({0, 1}));
  clock.advance(std::chrono::milliseconds(1'001));
  EXPECT_TRUE(fetch({0, 1}));
  for (int i = 0; i < 2; ++i) engine_->note_corrupt(1);  // counted anew
  EXPECT_TRUE(fetch({kBlockSize, 1}));
  engine_->stop();  // while there is a clock
}

// Everything that can happen, at random, at once: each waiter hears exactly once, success means
// right bytes, and nothing is left behind.
TEST_F(TransferFaults, Storm) {
  std::atomic<unsigned> dice = 1;
  origin_.plan = [&](int attempt, ByteRange range) {
    std::minstd_rand random(static_cast<unsigned>(attempt) * 7 + dice);
    RangeOrigin::Plan plan;
    plan.whole = random() % 5 == 0;
    if (random() % 3 == 0) plan.cut_after = random() % range.size;
    if (random() % 2 == 0) plan.error = Error{Code::unreachable, "reset", {}};
    if (plan.error && random() % 8 == 0) plan.error->code = Code::denied;
    return plan;
  };
  start({.blocks_per_request = 3, .buffer_bytes = 3 * kBlockSize, .requests_in_flight = 4});
  constexpr int kReaders = 6, kReads = 25;
  std::atomic<int> heard = 0;
  {
    std::vector<std::jthread> readers;
    for (int reader = 0; reader < kReaders; ++reader)
      readers.emplace_back([&, reader] {
        std::minstd_rand random(static_cast<unsigned>(reader) + 1);
        for (int i = 0; i < kReads; ++i) {
          const ByteRange range{random() % kSize, 1 + random() % (3 * kBlockSize)};
          std::stop_source stop;
          auto once = std::make_shared<std::atomic<int>>(0);
          engine_->fetch(blob_, sources_, range, stop.get_token(), [&, once, range](auto result) {
            EXPECT_EQ(++*once, 1);
            EXPECT_TRUE(!result || blob_->readable(range));
            ++heard;
          });
          if (random() % 4 == 0) stop.request_stop();
        }
      });
  }
  EXPECT_TRUE(eventually([&] { return heard == kReaders * kReads; }));
  EXPECT_TRUE(eventually([&] { return engine_->snapshot().requests == 0; }));
  EXPECT_EQ(engine_->snapshot().waiters, 0u);
  for (BlockIndex block = 0; block < block_count(kSize); ++block)
    EXPECT_TRUE(!blob_->readable(bytes_of(block, kSize)) || blob_->right(bytes_of(block, kSize)));
}

}  // namespace
}  // namespace hffs
