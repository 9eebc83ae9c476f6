// SPDX-License-Identifier: Apache-2.0
//
// Whose request gets a slot: a stalled blob holds up nobody who reads another.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "transfer_fixture.h"

namespace hffs {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::kBlocks;
using test::kSize;
using test::MemoryBlob;


class TransferSlots : public test::TransferTest {
 protected:
  // One reader for each of its first blocks.
  void want(const std::string& path, BlockIndex blocks = kBlocks) {
    File& its = file(path);
    for (BlockIndex block = 0; block < blocks; ++block)
      engine_->fetch(its.blob, its.sources, bytes_of(block, kSize), {},
                     [&its](Result<void> result) { ++(result ? its.here : its.failed); });
  }
  bool comes(const std::string& path, int blocks = kBlocks) {
    return eventually([&] { return file(path).here == blocks; });
  }
  std::ptrdiff_t attempts(const std::string& path) {
    const auto served = origin_.served();
    return std::count(served.begin(), served.end(), path);
  }
};

// Requests of one block, so that there are many.
TransferOptions connections(int count, std::chrono::milliseconds patience = 1h) {
  return {.blocks_per_request = 1, .requests_in_flight = count, .slot_patience = patience};
}

TEST_F(TransferSlots, OneBlobLeavesAQuarterToOthers) {
  origin_.stalled = {"stalled", "too"};
  start(connections(8));
  want("stalled");
  EXPECT_EQ(engine_->snapshot().requests, 6u);
  want("too");
  EXPECT_EQ(engine_->snapshot().requests, 7u);
  want("cold");  // block after block
  EXPECT_TRUE(comes("cold"));
  EXPECT_EQ(attempts("stalled"), 6);
  EXPECT_EQ(attempts("too"), 1);
  origin_.let_go();
  EXPECT_TRUE(comes("stalled"));
  EXPECT_TRUE(comes("too"));
}

TEST_F(TransferSlots, AFreeSlotGoesToTheBlobWithTheFewest) {
  origin_.plan = [](int attempt, ByteRange) {
    return test::RangeOrigin::Plan{.stall = attempt == 1 || attempt == 2,
                                   .stall_after = attempt == 0 ? 0 : ~0ull};
  };
  start(connections(3));
  want("a");
  want("b", 1);
  want("c", 1);
  EXPECT_EQ(origin_.served(), (std::vector<std::string>{"a", "a", "a"}));
  origin_.let_go();
  EXPECT_TRUE(comes("a", kBlocks - 2));
  const auto served = origin_.served();
  EXPECT_EQ((std::vector<std::string>(served.begin() + 3, served.begin() + 5)),
            (std::vector<std::string>{"b", "c"}));
}

TEST_F(TransferSlots, WhoWaitsTooLongTakesFromTheBlobThatHasMost) {
  origin_.stalled = {"stalled", "too"};
  start(connections(4, 100ms));
  want("stalled");
  want("too", 1);
  EXPECT_EQ(engine_->snapshot().requests, 4u);
  want("cold");
  EXPECT_TRUE(comes("cold"));
  EXPECT_EQ(attempts("too"), 1);
  EXPECT_EQ(file("stalled").here, 0);
  EXPECT_EQ(file("stalled").failed, 0);
  origin_.let_go();
  EXPECT_TRUE(comes("stalled"));
  EXPECT_TRUE(file("stalled").blob->right({0, kSize}));
}

TEST_F(TransferSlots, TwoBlobsEndWithEqualShares) {
  origin_.stalled = {"a", "b"};
  start(connections(8, 50ms));
  want("a");
  want("b");
  EXPECT_TRUE(eventually([&] { return attempts("b") == 3; }));
  const auto before = attempts("a");
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(attempts("b"), 3);
  EXPECT_EQ(attempts("a"), before);
  EXPECT_EQ(engine_->snapshot().requests, 6u);
}

TEST_F(TransferSlots, AsManyStalledBlobsAsSlotsDoNotHoldUpAnotherOne) {
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
  origin_.stalled = {names.begin(), names.end()};
  start(connections(4, 100ms));
  for (const auto& name : names) want(name, 2);
  want("cold", 1);
  EXPECT_TRUE(comes("cold", 1));
  origin_.let_go();
  for (const auto& name : names) EXPECT_TRUE(comes(name, 2)) << name;
  for (const auto& name : names) EXPECT_EQ(file(name).failed, 0) << name;
}

TEST_F(TransferSlots, ASlotIsNotTakenAtOnce) {
  origin_.stalled = {"a"};
  start(connections(1, 200ms));
  const auto begin = std::chrono::steady_clock::now();
  want("a", 1);
  want("b", 1);
  EXPECT_TRUE(comes("b", 1));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
  EXPECT_EQ(file("a").here, 0);
}

TEST_F(TransferSlots, WhoGaveItsSlotAwayGoesOnBehindItsLastByte) {
  origin_.plan = [](int attempt, ByteRange) {
    return test::RangeOrigin::Plan{.stall_after = attempt == 0 ? 700'000 : ~0ull};
  };
  start(connections(1, 100ms));
  want("a", 1);
  want("b", 1);
  EXPECT_TRUE(comes("b", 1));
  EXPECT_TRUE(comes("a", 1));
  EXPECT_EQ(origin_.asked().back(), (ByteRange{700'000, kBlockSize - 700'000}));
  EXPECT_TRUE(file("a").blob->right({0, kBlockSize}));
}

}  // namespace
}  // namespace hffs
