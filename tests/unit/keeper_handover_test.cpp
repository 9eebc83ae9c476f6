// SPDX-License-Identifier: Apache-2.0
//
// What a worker leaves: each mapping of the memory is a worker, and one that is only let go has been killed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "handover.h"

namespace hffs {
namespace {

class HandoverTest : public testing::Test {
 protected:
    // The worker is killed, and another one comes.
  std::vector<Handover::Left> next() {
    now_ = memory_.next();
    return now_->left();
  }
  void receive(unsigned desk, std::uint64_t unique, std::size_t size = 80,
               std::uint32_t opcode = FUSE_READ) {
    hffs::receive(*now_, desk, unique, opcode, size);
  }
  static std::uint64_t unique_of(const Handover::Left& left) {
    fuse_in_header header;
    std::memcpy(&header, left.request.data(), sizeof(header));
    return header.unique;
  }
  static std::vector<std::uint64_t> uniques(const std::vector<Handover::Left>& all) {
    std::vector<std::uint64_t> found;
    for (const auto& left : all) found.push_back(unique_of(left));
    return found;
  }
  using Uniques = std::vector<std::uint64_t>;

  HandoverMemory memory_;
  std::unique_ptr<Handover> now_ = memory_.next();
};

TEST_F(HandoverTest, WhatWasAnsweredIsNotLeft) {
  receive(0, 2);
  now_->answered(2);
  now_->clear_desk(0);
  EXPECT_TRUE(next().empty());
}

TEST_F(HandoverTest, ARequestIsLeftFromTheInstantThatItIsThere) {
  const auto place = now_->desk(3);
  const fuse_in_header header{.len = 100, .opcode = FUSE_LOOKUP, .unique = 8};
  std::memcpy(place.data(), &header, sizeof(header));  // and nobody had a look
  const auto left = next();
  EXPECT_EQ(uniques(left), Uniques{8});
  EXPECT_EQ(left[0].request.size(), 100u);
}

TEST_F(HandoverTest, InTheOrderInWhichTheyCameAndWhole) {
  receive(1, 6);
  now_->clear_desk(1);  // parked
  receive(1, 10, 1'000);
  receive(0, 4, 300);
  const auto left = next();
  EXPECT_EQ(uniques(left), (Uniques{4, 6, 10}));
  EXPECT_EQ(left[1].request.size(), 80u);
  EXPECT_EQ(left[1].request.back(), std::byte{6});
  EXPECT_EQ(left[2].request.size(), 1'000u);
  EXPECT_EQ(left[2].request.back(), std::byte{10});
}

TEST_F(HandoverTest, WhatIsParkedIsAnsweredLater) {
  for (std::uint64_t unique = 2; unique <= 200; unique += 2) {
    receive(0, unique);
    now_->clear_desk(0);
  }
  for (std::uint64_t unique = 4; unique <= 200; unique += 2) now_->answered(unique);
  EXPECT_EQ(uniques(next()), Uniques{2});
  now_->answered(2);
  EXPECT_TRUE(next().empty());
}

TEST_F(HandoverTest, WhoIsKilledAgainLeavesItAgain) {
  receive(0, 2);
  receive(1, 4);
  auto left = next();
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].tries, 1u);
  now_->try_again(left[0]);
  now_->settle(left[0]);  // it waits now
  now_->try_again(left[1]);
  left = next();
  EXPECT_EQ(uniques(left), (Uniques{2, 4}));
  EXPECT_EQ(left[0].tries, 0u) << "it has waited, and ended nobody";
  EXPECT_EQ(left[1].tries, 2u);
  EXPECT_EQ(next()[1].tries, 2u) << "nobody has begun with it since";
  left = next();
  for (const auto& each : left) {
    now_->answered(unique_of(each));
    now_->settle(each);
  }
  EXPECT_TRUE(next().empty());
}

TEST_F(HandoverTest, WhatWantsNoAnswerIsNotLeft) {
  receive(0, 2, 80, FUSE_FORGET);
  receive(1, 3, 80, FUSE_INTERRUPT);
  EXPECT_TRUE(next().empty());
  receive(0, 2, 80, FUSE_BATCH_FORGET);
  now_->clear_desk(0);
  EXPECT_TRUE(next().empty());
}

// The desk is emptied behind the move: killed between, it is in both.
TEST_F(HandoverTest, OneThatWasBeingMovedIsLeftOnce) {
  receive(0, 2);
  const std::vector<std::byte> desk(now_->desk(0).begin(), now_->desk(0).begin() + 80);
  now_->clear_desk(0);
  std::memcpy(now_->desk(0).data(), desk.data(), desk.size());
  EXPECT_EQ(uniques(next()), Uniques{2});
  now_->answered(2);
  now_->clear_desk(0);
  EXPECT_TRUE(next().empty());
}

TEST_F(HandoverTest, NonsenseIsNotLeft) {
  const fuse_in_header header{.len = 7, .opcode = FUSE_READ, .unique = 2};
  std::memcpy(now_->desk(0).data(), &header, sizeof(header));
  const fuse_in_header longer{.len = ~0u, .opcode = FUSE_READ, .unique = 4};
  std::memcpy(now_->desk(1).data(), &longer, sizeof(longer));
  EXPECT_TRUE(next().empty());
}

TEST_F(HandoverTest, TheSessionIsKept) {
  EXPECT_FALSE(now_->session());
  const std::vector<std::byte> request(104, std::byte{1}), answer(80, std::byte{2});
  now_->keep_session(request, answer);
  (void)next();
  ASSERT_TRUE(now_->session());
  EXPECT_EQ(now_->session()->request, request);
  EXPECT_EQ(now_->session()->answer, answer);
}

// It stands in memory that the worker before could write.
TEST_F(HandoverTest, ASessionLongerThanItsPlaceIsCutOff) {
  const std::vector<std::byte> most(4'096, std::byte{1});
  now_->keep_session(most, most);
  // The two lengths stand behind the magic, the generation and the index.
  const std::uint32_t hostile[] = {~0u, ~0u};
  memory_.poke(32, std::as_bytes(std::span(hostile)));
  ASSERT_TRUE(now_->session());
  EXPECT_EQ(now_->session()->request, most);
  EXPECT_EQ(now_->session()->answer, most);
}

TEST_F(HandoverTest, OpenNodesAreKept) {
  const auto one = now_->add_open({.node = 77, .count = 1, .backing = 5}, 0);
  const auto two = now_->add_open({.node = 78, .count = 3, .backing = 0}, 0);
  ASSERT_TRUE(one && two);
  now_->set_open(*one, 2, 0);
  (void)next();
  auto open = now_->open_nodes();
  ASSERT_EQ(open.size(), 2u);
  EXPECT_EQ(open[0].second.node, 77u);
  EXPECT_EQ(open[0].second.count, 2u);
  EXPECT_EQ(open[0].second.backing, 5);
  EXPECT_EQ(open[1].second.count, 3u);
  now_->free_open(*one);
  (void)next();
  EXPECT_EQ(now_->open_nodes().size(), 1u);
  EXPECT_EQ(now_->add_open({.node = 79, .count = 1, .backing = 0}, 0), one);
}

// Whoever opened it is asked again, and opens it again.
TEST_F(HandoverTest, AnOpenThatWasNotAnsweredIsNotCounted) {
  receive(0, 2, 80, FUSE_OPEN);
  const auto one = now_->add_open({.node = 77, .count = 1, .backing = 5}, 2);
  now_->answered(2);
  now_->clear_desk(0);
  receive(0, 4, 80, FUSE_OPEN);
  now_->set_open(*one, 2, 4);
  receive(1, 6, 80, FUSE_OPEN);
  (void)now_->add_open({.node = 78, .count = 1, .backing = 9}, 6);
  EXPECT_EQ(uniques(next()), (Uniques{4, 6}));
  auto open = now_->open_nodes();
  ASSERT_EQ(open.size(), 2u);
  EXPECT_EQ(open[0].second.count, 1u);
  EXPECT_EQ(open[1].second.count, 0u);
  EXPECT_EQ(open[1].second.backing, 9) << "who closes it?";
  (void)next();
  EXPECT_EQ(now_->open_nodes()[0].second.count, 1u) << "taken away twice";
}

// What it closed stays closed: it is answered, and does not close another time.
TEST_F(HandoverTest, ACloseThatWasNotAnsweredCountsOnce) {
  const auto one = now_->add_open({.node = 77, .count = 3, .backing = 0}, 0);
  receive(0, 2, 80, FUSE_RELEASE);
  now_->set_open(*one, 2, 2);
  receive(1, 4, 80, FUSE_RELEASE);  // not begun
  const auto left = next();
  ASSERT_EQ(uniques(left), (Uniques{2, 4}));
  ASSERT_EQ(left[0].answer.size(), sizeof(fuse_out_header));
  fuse_out_header said;
  std::memcpy(&said, left[0].answer.data(), sizeof(said));
  EXPECT_EQ(said.unique, 2u);
  EXPECT_EQ(said.error, 0);
  EXPECT_TRUE(left[1].answer.empty());
  EXPECT_EQ(now_->open_nodes()[0].second.count, 2u);
  // Killed before it said so.
  EXPECT_EQ(next()[0].answer.size(), sizeof(fuse_out_header));
  EXPECT_EQ(now_->open_nodes()[0].second.count, 2u);
}

// Another thread answers while its own moves it aside.
TEST_F(HandoverTest, AnAnswerMovesWithItsRequest) {
  const auto said = [this](std::uint64_t unique) {
    fuse_out_header header{.len = sizeof(header), .error = 0, .unique = unique};
    const iovec part{&header, sizeof(header)};
    now_->answering(unique, {&part, 1});
  };
  receive(0, 2);
  now_->clear_desk(0);
  said(2);  // in the place that the next one gets
  now_->answered(2);
  receive(0, 4);
  said(4);
  now_->clear_desk(0);
  const auto left = next();
  ASSERT_EQ(uniques(left), Uniques{4});
  ASSERT_EQ(left[0].answer.size(), sizeof(fuse_out_header));
}

// The kernel may have had it, and programs may have gone on.
TEST_F(HandoverTest, WhatHasAnAnswerIsNotDoneAgain) {
  fuse_out_header header{.len = sizeof(header) + 10, .error = 0, .unique = 2};
  std::string text = "the answer";
  const iovec parts[] = {{&header, sizeof(header)}, {text.data(), text.size()}};
  receive(0, 2, 80, FUSE_OPEN);
  (void)now_->add_open({.node = 77, .count = 1, .backing = 5}, 2);
  now_->answering(2, parts);
  receive(1, 4, 80, FUSE_GETATTR);
  receive(2, 6, 80, FUSE_READ);
  const std::string large(10'000, 'x');
  const iovec many{const_cast<char*>(large.data()), large.size()};
  now_->answering(6, {&many, 1});
  const auto left = next();
  ASSERT_EQ(uniques(left), (Uniques{2, 4, 6}));
  ASSERT_EQ(left[0].answer.size(), sizeof(header) + text.size());
  EXPECT_EQ(std::memcmp(left[0].answer.data() + sizeof(header), text.data(), text.size()), 0);
  EXPECT_TRUE(left[1].answer.empty());
  EXPECT_TRUE(left[2].answer.empty()) << "a read is done again";
  EXPECT_EQ(now_->open_nodes()[0].second.count, 1u) << "it is open";
  // The place of one that was answered has no answer for the next, which nobody has looked at.
  now_->answered(2);
  now_->clear_desk(0);
  const fuse_in_header fresh{.len = 100, .opcode = FUSE_LOOKUP, .unique = 8};
  std::memcpy(now_->desk(0).data(), &fresh, sizeof(fresh));
  const auto then = next();
  ASSERT_EQ(uniques(then), (Uniques{4, 6, 8}));
  EXPECT_TRUE(then[2].answer.empty());
  EXPECT_EQ(then[2].tries, 0u);
}

TEST_F(HandoverTest, ChangesAreLeftInTheirOrderUntilTheyAreSettled) {
  const auto one = now_->add_change(0, "one");
  const auto two = now_->add_change(0, "two");
  ASSERT_TRUE(one && two);
  now_->settle_change(*one);
  ASSERT_TRUE(now_->add_change(0, "three"));
  (void)next();
  const auto left = now_->changes();
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].second, "two");
  EXPECT_EQ(left[1].second, "three");
  const auto four = now_->add_change(0, "four");
  ASSERT_TRUE(four);
  EXPECT_EQ(now_->changes().back().second, "four");
  for (const auto& [change, bytes] : now_->changes()) now_->settle_change(change);
  (void)next();
  EXPECT_TRUE(now_->changes().empty());
  EXPECT_FALSE(now_->add_change(0, std::string(Handover::kMostChange + 1, 'x')));
}

// One that is kept for its request alone must not be made over later ones.
TEST_F(HandoverTest, WhatIsSettledIsNotLeft) {
  receive(0, 2, 80, FUSE_MKDIR);
  now_->settle_change(*now_->add_change(2, "made"));
  now_->settle_change(*now_->add_change(0, "removed"));
  (void)next();
  EXPECT_TRUE(now_->changes().empty());
  EXPECT_EQ(now_->done_for(2), "made");
  (void)next();
  EXPECT_EQ(now_->done_for(2), "made") << "asked again, and killed again";
  now_->answered(2);
  (void)next();
  EXPECT_FALSE(now_->done_for(2));
}

TEST_F(HandoverTest, AChangeTellsForWhichRequestItWasMade) {
  receive(0, 2, 80, FUSE_MKDIR);
  receive(1, 4, 80, FUSE_MKDIR);
  const auto answered = now_->add_change(2, "answered");
  const auto other = now_->add_change(4, "not answered");
  now_->settle_change(*answered);  // durable before …
  now_->settle_change(*other);
  now_->answered(2);               // … it is answered
  now_->clear_desk(0);
  EXPECT_EQ(uniques(next()), Uniques{4});
  EXPECT_FALSE(now_->done_for(2));
  EXPECT_EQ(now_->done_for(4), "not answered");
  EXPECT_FALSE(now_->done_for(6));
  for (const auto& [change, bytes] : now_->changes()) now_->settle_change(change);
  now_->answered(4);
  (void)next();
  EXPECT_TRUE(now_->changes().empty());
}

TEST_F(HandoverTest, AnotherLayoutIsRefused) {
  const auto memory = Handover::create();
  const std::uint64_t other = 1;
  ASSERT_EQ(::pwrite(memory->get(), &other, sizeof(other), 0), static_cast<ssize_t>(sizeof(other)));
  const auto mapped = Handover::map(*memory);
  ASSERT_FALSE(mapped);
  EXPECT_EQ(mapped.error().code, Code::unsupported);
  EXPECT_NE(::ftruncate(memory->get(), 0), 0) << "a worker could take it from under its successor";
}

}  // namespace
}  // namespace hffs
