// SPDX-License-Identifier: Apache-2.0
//
// Reading blobs: waiting, being stopped, changes of incarnation.
#include "fs_fixture.h"

namespace hffs {
namespace {

using test::FsTest;
using test::kBig;
using test::kBigSize;
using test::kCommitA;
using test::kSmall;
using test::kSmallText;
using test::pattern;

class ReadingTest : public FsTest {
 protected:
  NodeId blob(const std::string& hex) {
    at(kAlice, repo_ + "/snapshots/" + kCommitA + "/small.txt");
    return at(kAlice, repo_ + "/blobs/" + hex);
  }
  NodeId opened(const std::string& hex) {
    const NodeId node = blob(hex);
    const auto result = files_->open_file(user(kAlice), node, O_RDONLY);
    EXPECT_TRUE(result) << result.error().message;
    return node;
  }
};

TEST_F(ReadingTest, AColdReadWaitsAndHoldsNoThread) {
  bytes_.set_open(false);
  const NodeId node = opened(kBig);
  std::promise<std::string> bytes;
  files_->read(user(kAlice), node, {kBlockSize - 3, 6}, {}, [&](const auto& result) {
    bytes.set_value(result ? std::string(reinterpret_cast<const char*>(result->data()),
                                         result->size())
                           : result.error().message);
  });
  EXPECT_EQ(metrics_.value(Metric::reads_waiting), 1);
  EXPECT_EQ(metrics_.value(Metric::reads_parked), 1);
  bytes_.set_open(true);
  EXPECT_EQ(bytes.get_future().get(), pattern().substr(kBlockSize - 3, 6));
  EXPECT_EQ(metrics_.value(Metric::reads_waiting), 0);
  EXPECT_EQ(*read(kAlice, node, {5, 10}), pattern().substr(5, 10));
  EXPECT_EQ(metrics_.value(Metric::reads_parked), 1);
  EXPECT_EQ(*read(kAlice, node, {kBigSize, 10}), "");
  files_->release(node, 0, O_RDONLY);
}

// A patience of no time: by the time the prefetcher looks, the reader has always left.
TEST_F(ReadingTest, WhatAReaderHasLeftIsFilledOnlyIfThatWasAskedFor) {
  for (const auto policy : {PrefetchPolicy::adaptive, PrefetchPolicy::file}) {
    close();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    prefetch_ = {.policy = policy, .patience = std::chrono::seconds(0)};
    open();
    const NodeId node = opened(kBig);
    ASSERT_TRUE(read(kAlice, node, {0, 10}));
    const auto whole = [&] {
      const auto blob = store_->blob(node.blob_number());
      return blob && (blob->verified || blob->bytes_here == kBigSize);
    };
    if (policy == PrefetchPolicy::file) {
      EXPECT_TRUE(eventually(whole));
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      EXPECT_FALSE(whole());
    }
    files_->release(node, 0, O_RDONLY);
  }
}

TEST_F(ReadingTest, AStoppedReadIsOver) {
  bytes_.set_open(false);
  const NodeId node = opened(kBig);
  std::stop_source stop;
  std::promise<Code> answered;
  files_->read(user(kAlice), node, {0, 10}, stop.get_token(),
               [&](auto result) { answered.set_value(code(result)); });
  EXPECT_EQ(metrics_.value(Metric::reads_waiting), 1);
  stop.request_stop();
  EXPECT_EQ(answered.get_future().get(), Code::cancelled);
  EXPECT_EQ(metrics_.value(Metric::reads_waiting), 0);
  bytes_.set_open(true);
  EXPECT_EQ(*read(kAlice, node), pattern());
  files_->release(node, 0, O_RDONLY);
}

TEST_F(ReadingTest, AVerifiedBlobIsANewNodeAndTheOldOneReadsOn) {
  const NodeId old = opened(kBig);
  EXPECT_EQ(*read(kAlice, old), pattern());
  ASSERT_TRUE(eventually([&] { return incarnations_ == 1; }));
  EXPECT_EQ(*read(kAlice, old), pattern());
  EXPECT_EQ(code(files_->open_file(user(kBob), old, O_RDONLY)), Code::stale);
  const NodeId now = blob(kBig);
  EXPECT_NE(now, old);
  EXPECT_EQ(files_->get_attributes(user(kBob), now)->attr.inode,
            files_->get_attributes(user(kBob), old)->attr.inode);
  const int ranges = bytes_.ranges();
  ASSERT_TRUE(files_->open_file(user(kBob), now, O_RDONLY));
  EXPECT_EQ(*read(kBob, now), pattern());
  EXPECT_EQ(bytes_.ranges(), ranges);
  files_->release(now, 0, O_RDONLY);
  files_->release(old, 0, O_RDONLY);
}

// The kernel looks a name up again once. If the blob goes between that and the open, the open is served.
TEST_F(ReadingTest, TwoIncarnationsInAMomentAreNoErrorOfAProgram) {
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  const NodeId filling = opened(kBig);
  EXPECT_EQ(*read(kAlice, filling), pattern());
  ASSERT_TRUE(eventually([&] { return incarnations_ == 1; }));
  files_->release(filling, 0, O_RDONLY);
  EXPECT_EQ(code(files_->open_file(user(kBob), filling, O_RDONLY)), Code::stale);
  const NodeId verified = blob(kBig);
  ASSERT_NE(verified, filling);
  ASSERT_TRUE(eventually([&] {
    const auto gone = test::wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
      store_->bounds().evict({.blobs = {verified.blob_number()}}, std::move(done));
    });
    return gone && gone->blobs.size() == 1;
  }));
  const auto now = files_->open_file(user(kBob), verified, O_RDONLY);
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_FALSE(now->keep_cache);
  EXPECT_EQ(*read(kBob, verified), pattern());
  files_->release(verified, 0, O_RDONLY);
}

// A node of long ago is not one that somebody was sent to: it may be open still, with another file behind it.
TEST_F(ReadingTest, NobodyIsServedOnANodeOfLongAgo) {
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  const auto fill_it = [&](int incarnations) {
    const NodeId filling = opened(kBig);
    EXPECT_EQ(*read(kAlice, filling), pattern());
    EXPECT_TRUE(eventually([&] { return incarnations_ == incarnations; }));
    files_->release(filling, 0, O_RDONLY);
    return filling;
  };
  fill_it(1);
  const NodeId verified = blob(kBig);
  ASSERT_TRUE(eventually([&] {
    const auto gone = test::wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
      store_->bounds().evict({.blobs = {verified.blob_number()}}, std::move(done));
    });
    return gone && gone->blobs.size() == 1;
  }));
  const NodeId filling = fill_it(2);
  EXPECT_EQ(code(files_->open_file(user(kBob), filling, O_RDONLY)), Code::stale);
  EXPECT_EQ(code(files_->open_file(user(kBob), verified, O_RDONLY)), Code::stale);
  // Who comes from there may have been sent to what another one has just been sent away from.
  EXPECT_TRUE(files_->open_file(user(kBob), filling, O_RDONLY));
  files_->release(filling, 0, O_RDONLY);
}

TEST_F(ReadingTest, ANodeWhoseFileIsOpenHasNoOther) {
  const NodeId filling = opened(kBig);
  EXPECT_EQ(*read(kAlice, filling), pattern());
  ASSERT_TRUE(eventually([&] { return incarnations_ == 1; }));
  files_->release(filling, 0, O_RDONLY);
  EXPECT_EQ(code(files_->open_file(user(kBob), filling, O_RDONLY)), Code::stale);
  const NodeId verified = opened(kBig);
  std::filesystem::remove(store_->blob_directory() + "/" + std::string(kBig).substr(0, 2) + "/" + kBig);
  const auto work = store_->scrub().verify({});
  ASSERT_TRUE(eventually([&] { return work->result().has_value(); }));
  ASSERT_EQ(work->result()->size(), 1u);
  EXPECT_EQ(code(files_->open_file(user(kBob), verified, O_RDONLY)), Code::stale);
  EXPECT_NE(opened(kBig), verified);
  EXPECT_EQ(*read(kAlice, verified), pattern());
  files_->release(blob(kBig), 0, O_RDONLY);
  files_->release(verified, 0, O_RDONLY);
}

TEST_F(ReadingTest, WrongBytesAreFetchedAgainForWhoHasTheBlobOpen) {
  std::string wrong = pattern();
  wrong[7] ^= 1;
  bytes_.content[kBig] = wrong;
  const NodeId old = opened(kBig);
  // All but the last block, so that nothing is checked yet.
  EXPECT_EQ(*read(kAlice, old, {0, 3 * kBlockSize}), wrong.substr(0, 3 * kBlockSize));
  EXPECT_TRUE(read(kAlice, old, {3 * kBlockSize, 5}));
  ASSERT_TRUE(eventually([&] { return metrics_.value(Metric::blobs_quarantined) == 1; }));
  bytes_.content[kBig] = pattern();
  EXPECT_EQ(*read(kAlice, old), pattern());
  ASSERT_TRUE(eventually([&] { return metrics_.value(Metric::blobs_verified) == 1; }));
  const NodeId now = opened(kBig);
  EXPECT_EQ(*read(kAlice, now), pattern());
  files_->release(now, 0, O_RDONLY);
  files_->release(old, 0, O_RDONLY);
}

TEST_F(ReadingTest, OfflineABlobThatIsNotWhollyHereFailsAtOpen) {
  NodeId node = opened(kBig);
  EXPECT_EQ(*read(kAlice, node, {0, 4}), pattern().substr(0, 4));
  files_->release(node, 0, O_RDONLY);
  node = opened(kSmall);
  EXPECT_EQ(*read(kAlice, node), kSmallText);
  files_->release(node, 0, O_RDONLY);
  ASSERT_TRUE(store_->flush());
  close();
  options_.offline = true;
  open();
  const auto refused = files_->open_file(user(kAlice), blob(kBig), O_RDONLY);
  EXPECT_EQ(code(refused), Code::offline);
  EXPECT_NE(refused.error().message.find("acme/tiny"), std::string::npos);
  EXPECT_NE(refused.error().message.find("big.bin"), std::string::npos);
  node = opened(kSmall);
  EXPECT_EQ(*read(kAlice, node), kSmallText);
  files_->release(node, 0, O_RDONLY);
  close();
  options_.offline_partial = true;
  open();
  node = opened(kBig);
  EXPECT_EQ(*read(kAlice, node, {0, 4}), pattern().substr(0, 4));
  EXPECT_EQ(code(read(kAlice, node, {2 * kBlockSize, 4})), Code::offline);
  files_->release(node, 0, O_RDONLY);
}

TEST_F(ReadingTest, ManyReadersOfOneColdBlob) {
  const NodeId node = opened(kBig);
  const std::string all = pattern();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 12; ++i) {
        const std::uint64_t offset = (i * 7 + static_cast<std::uint64_t>(t)) % 12 * (kBlockSize / 4);
        ASSERT_EQ(*read(kAlice, node, {offset, 1'000}), all.substr(offset, 1'000));
      }
    });
  for (auto& thread : threads) thread.join();
  files_->release(node, 0, O_RDONLY);
}

TEST_F(ReadingTest, ReadersAreToldAtTheEnd) {
  bytes_.set_open(false);
  const NodeId node = opened(kBig);
  std::promise<Code> answered;
  files_->read(user(kAlice), node, {0, 10}, {},
               [&](auto result) { answered.set_value(code(result)); });
  transfer_.reset();
  EXPECT_EQ(answered.get_future().get(), Code::cancelled);
}

}  // namespace
}  // namespace hffs
