// SPDX-License-Identifier: Apache-2.0
//
// Disks that fail for a while: what is served, what is kept, and what happens when they work again.
#include <pthread.h>

#include <array>
#include <atomic>
#include <future>

#include "fault_fixture.h"

namespace hffs::test {
namespace {

TEST_F(FaultTest, ReadsAreServedFromMemoryWhileTheDiskIsFull) {
  open();
  const Bytes bytes = content(1, 40 * kBlockSize + 5);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  fail_always(Op::write, Code::no_space);
  EXPECT_EQ(write_blocks(*filling, {0, 3}, bytes).error().code, Code::no_space);
  EXPECT_TRUE(filling->readable({0, 3 * kBlockSize}));
  Bytes some(2 * kBlockSize);
  ASSERT_EQ(filling->read(kBlockSize / 2, some).value_or(0), some.size());
  EXPECT_TRUE(is_part(some, bytes, kBlockSize / 2));
  EXPECT_EQ(filling->missing({0, 5 * kBlockSize}), (std::vector<BlockRun>{{3, 2}}));
  EXPECT_EQ(row_of(*store_, number)->bytes_here(), 0u);
  // The oldest make room; memory stays bounded. The last ones, a short block among them, are there.
  for (BlockIndex block = 3; block <= 40; ++block)
    EXPECT_EQ(write_blocks(*filling, {block, 1}, bytes).error().code, Code::no_space);
  EXPECT_FALSE(filling->readable({0, 1}));
  EXPECT_EQ(filling->missing({0, bytes.size()}), (std::vector<BlockRun>{{0, 9}}));
  // A block that is fetched again is as new as its last arrival.
  EXPECT_FALSE(write_blocks(*filling, {9, 1}, bytes));
  for (BlockIndex block = 0; block < 5; ++block)
    EXPECT_FALSE(write_blocks(*filling, {block, 1}, bytes));
  EXPECT_TRUE(filling->readable({9 * kBlockSize, kBlockSize}));
  ASSERT_TRUE(store_->flush());
  EXPECT_TRUE(row_of(*store_, number)->claimed.empty());
  // There is room again: what is held goes to the disk, and nobody has to ask for it.
  heal();
  for (int i = 0; i < 400 && row_of(*store_, number)->claimed.count() < 32; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(row_of(*store_, number)->claimed.count(), 32u);
  EXPECT_TRUE(fill_at_last(number, bytes));
}

TEST_F(FaultTest, BlocksOfWhichSomeAreNotKeptAreTwoLinesInTheLog) {
  const std::string file = directory_.path() + "/log";
  start_log(Level::info, file);
  options_.sync_interval = std::chrono::milliseconds(50);
  open();
  const Bytes bytes = content(1, 12 * kBlockSize);
  const auto filling = blob(add(bytes));
  for (BlockIndex block = 0; block < 10; block += 2) {
    fail_once(Op::write, 0, Code::no_space);
    EXPECT_FALSE(write_blocks(*filling, {block, 1}, bytes));
    EXPECT_TRUE(write_blocks(*filling, {block + 1, 1}, bytes));
    EXPECT_TRUE(store_->flush());  // what was held in memory goes to the disk
  }
  const auto lines = [&](std::string_view words) {
    const Bytes all = file_content(file);
    const std::string_view text(reinterpret_cast<const char*>(all.data()), all.size());
    int count = 0;
    for (auto at = text.find(words); at != text.npos; at = text.find(words, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(lines("served but not kept"), 1);
  EXPECT_EQ(lines("kept again"), 0);
  std::this_thread::sleep_for(30 * options_.sync_interval);
  ASSERT_TRUE(write_blocks(*filling, {10, 1}, bytes));
  EXPECT_EQ(lines("kept again"), 1);
}

TEST_F(FaultTest, ReadsFromTheFileAndFromMemoryAtOnce) {
  options_.sync_interval = std::chrono::hours(1);
  open();
  const Bytes bytes = content(12, 3 * kBlockSize + 5);
  const auto filling = blob(add(bytes));
  ASSERT_TRUE(write_blocks(*filling, {1, 1}, bytes));
  fail_always(Op::write, Code::no_space);
  EXPECT_FALSE(write_blocks(*filling, {2, 2}, bytes));
  EXPECT_FALSE(write_blocks(*filling, {0, 1}, bytes));
  EXPECT_EQ(*read_all(*filling), bytes);
  heal();
  EXPECT_TRUE(store_->flush());
}

// Of a write of several runs, what did reach the file is claimed and counted.
TEST_F(FaultTest, AWriteThatFailsHalfwayKeepsItsFirstHalf) {
  options_.sync_interval = std::chrono::hours(1);  // nothing is tried again
  open();
  const Bytes bytes = content(2, 4 * kBlockSize);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {1, 1}, bytes));
  ASSERT_TRUE(store_->flush());
  fail_once(Op::write, 1, Code::no_space);  // block 0 is written, 2 and 3 are not
  EXPECT_EQ(write_blocks(*filling, {0, 4}, bytes).error().code, Code::no_space);
  EXPECT_TRUE(filling->readable({0, 4 * kBlockSize}));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(row_of(*store_, number)->claimed.encode(), "\x03");
  EXPECT_EQ(store_->usage().unclaimed_bytes, 0u);
  EXPECT_EQ(metrics_.value(Metric::blocks_written), 2);
}

TEST_F(FaultTest, AFailedSyncForgetsWhatItDidNotKeep) {
  open();
  const Bytes bytes = content(3, 4 * kBlockSize);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {0, 1}, bytes));
  ASSERT_TRUE(store_->flush());
  fail_once(Op::sync_data, 0, Code::io);
  ASSERT_TRUE(write_blocks(*filling, {1, 2}, bytes));
  (void)store_->flush();
  ASSERT_TRUE(failed());
  EXPECT_EQ(filling->missing({0, bytes.size()}), (std::vector<BlockRun>{{1, 3}}));
  EXPECT_TRUE(filling->readable({0, kBlockSize}));
  EXPECT_EQ(row_of(*store_, number)->claimed.encode(), "\x01");
  EXPECT_EQ(store_->usage().unclaimed_bytes, 0u);
  EXPECT_TRUE(fill_at_last(number, bytes));
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

std::string thread_name() {
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  return name.data();
}

// The claim of synced blocks waits for the index while the verifier's own sync fails: the blocks
// are durable, so they stay, and the verdict comes without anybody writing again.
TEST_F(FaultTest, AFailedSyncLeavesWhatAnEarlierOneKept) {
  std::promise<void> synced, go;
  std::atomic<int> by_verifier{0};
  auto hold = go.get_future();
  auto first_sync = synced.get_future();
  hook_ = [&](Op op) -> Result<void> {
    const bool verifier = thread_name() == "hffs-verify";
    if (op == Op::read && verifier && first_sync.valid()) first_sync.get();
    if (op != Op::sync_data) return {};
    if (verifier && by_verifier++ == 0) return fail(Code::io, "fails here");
    return {};
  };
  open();
  const Bytes bytes = content(33, 2 * kBlockSize);
  const std::uint64_t number = add(bytes);
  store_->write(
      [&](WriteTxn&) {
        if (hold.valid()) hold.get();
      },
      [](auto) {});
  const auto filling = blob(number);
  ASSERT_TRUE(fill(*filling, bytes));
  std::this_thread::sleep_for(std::chrono::milliseconds(60));  // the syncer's turn
  synced.set_value();
  while (by_verifier == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(60));  // what is tried again is tried
  EXPECT_TRUE(filling->missing({0, bytes.size()}).empty());
  go.set_value();
  const auto event = heard_->wait(number, 2, std::chrono::seconds(5));
  close();
  hook_ = {};
  ASSERT_TRUE(event);
  EXPECT_TRUE(event->verified);
}

TEST_F(FaultTest, AVerdictWaitsForTheDiskAndComes) {
  open();
  const Bytes bytes = content(4, kBlockSize + 1);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  fail_always(Op::rename, Code::no_space);
  ASSERT_TRUE(fill(*filling, bytes));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(store_->blob(number)->verified);
  EXPECT_EQ(*read_all(*filling), bytes);
  heal();
  EXPECT_TRUE(heard_->wait(number, 2)->verified);
}

// However much else there is to do.
TEST_F(FaultTest, AVerdictComesWhileTheVerifierIsBusy) {
  open();
  const Bytes bytes = content(5, kBlockSize + 1);
  const std::uint64_t number = add(bytes);
  fail_always(Op::rename, Code::no_space);
  ASSERT_TRUE(fill(*blob(number), bytes));
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  // Two imports of wrong bytes, again and again: there is always one in the queue.
  const Bytes busy = content(6, 8 * kBlockSize);
  const std::uint64_t other = add(content(7, 8 * kBlockSize));
  std::atomic<bool> stop{false};
  std::atomic<int> running{0};
  std::function<void()> again = [&] {
    if (stop) {
      --running;
      return;
    }
    store_->import_file(other, directory_.path() + "/busy", [&](Result<void>) { again(); });
  };
  write_file(directory_.path() + "/busy", busy);
  for (int i = 0; i < 2; ++i) {
    ++running;
    again();
  }
  heal();
  const auto event = heard_->wait(number, 2, std::chrono::seconds(5));
  stop = true;
  while (running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(event);
  EXPECT_TRUE(event->verified);
}

TEST_F(FaultTest, ClosingWithAVerdictThatCannotBeGivenLosesNothing) {
  open();
  const Bytes bytes = content(8, kBlockSize + 1);
  const std::uint64_t number = add(bytes);
  fail_always(Op::sync_directory, Code::io);
  write_file(directory_.path() + "/file", bytes);
  auto done = std::make_shared<std::promise<Result<void>>>();
  auto result = done->get_future();
  store_->import_file(number, directory_.path() + "/file",
                      [done](Result<void> r) { done->set_value(std::move(r)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_FALSE(store_->flush());
  close();
  ASSERT_EQ(result.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(result.get().error().code, Code::cancelled);
  heal();
  open();
  EXPECT_EQ(*read_all(*blob(number)), bytes);
  for (int i = 0; i < 1'000 && !store_->blob(number)->verified; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // hashed again
  EXPECT_TRUE(store_->blob(number)->verified);
}

}  // namespace
}  // namespace hffs::test
