// SPDX-License-Identifier: Apache-2.0
//
// A store with a limit: what goes, what stays, and that what is read meanwhile is right.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "fault_fixture.h"
#include "hffs/record.h"
#include "sizes.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

class EvictionTest : public StoreTest {
 protected:
  void open_bounded(std::uint64_t max_size) {
    options_.limits.max_size = max_size;
    open();
    allow();
  }
  void reopen_bounded() {
    reopen();
    allow();
  }
  void allow() {
    store_->bounds().protect([this](const ReadTxn&, const Bounds::Visit& visit) {
      for (const std::uint64_t number : pinned_) visit(number, Bounds::Stay::pinned);
      for (const std::uint64_t number : only_copies_) visit(number, Bounds::Stay::only_copy);
    });
  }
  Result<Bounds::Outcome> evict(Bounds::Order order = {}) {
    return wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
      store_->bounds().evict(std::move(order), std::move(done));
    });
  }
  // Fills a blob of its own content, and forgets about it.
  std::uint64_t put(std::uint64_t seed, std::uint64_t size) {
    const Bytes bytes = content(seed, size);
    const std::uint64_t number = add(bytes);
    fill_and_verify(number, bytes);
    return number;
  }
  std::uint64_t used() const { return store_->bounds().state().used; }
  bool is_here(std::uint64_t number) const { return store_->blob(number)->bytes_here > 0; }
  // What really lies on the disk.
  std::uint64_t bytes_on_disk() const {
    std::uint64_t bytes = 0;
    for (const char* folder : {"/blobs", "/filling"})
      for (const auto& each : fs::recursive_directory_iterator(root() + folder)) {
        struct stat found {};
        if (each.is_regular_file() && ::stat(each.path().c_str(), &found) == 0)
          bytes += static_cast<std::uint64_t>(found.st_blocks) * 512;
      }
    return bytes;
  }

  std::vector<std::uint64_t> pinned_, only_copies_;
};

TEST_F(EvictionTest, WhatWasOpenLongestAgoGoesAlsoAfterARestart) {
  open_bounded(12 * kMiB);
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < 3; ++i) numbers.push_back(put(i, 4 * kMiB));
  (void)blob(numbers[0]);  // opened again: 1 is the oldest now
  reopen_bounded();
  const std::uint64_t fourth = put(10, 4 * kMiB);
  EXPECT_TRUE(is_here(numbers[0]));
  EXPECT_FALSE(is_here(numbers[1]));
  EXPECT_TRUE(is_here(numbers[2]));
  EXPECT_TRUE(is_here(fourth));
  EXPECT_EQ(used(), 12 * kMiB);
  EXPECT_FALSE(fs::exists(verified_file(id_of(content(1, 4 * kMiB)))));
  const auto row = row_of(*store_, numbers[1]);
  EXPECT_EQ(row->incarnation, 3u);
  EXPECT_FALSE(row->verified);
  // It can be filled again, as another incarnation.
  fill_and_verify(numbers[1], content(1, 4 * kMiB));
  EXPECT_EQ(*read_all(*blob(numbers[1])), content(1, 4 * kMiB));
  EXPECT_FALSE(is_here(numbers[2]));
}

TEST_F(EvictionTest, OpenAndPinnedBlobsStay) {
  open_bounded(12 * kMiB);
  const std::uint64_t open_one = put(0, 4 * kMiB), pinned = put(1, 4 * kMiB);
  const std::uint64_t other = put(2, 4 * kMiB);
  const auto held = blob(open_one);
  pinned_ = {pinned};
  (void)blob(other);  // the newest of all
  const std::uint64_t fourth = put(3, 4 * kMiB);
  EXPECT_TRUE(is_here(open_one));
  EXPECT_TRUE(is_here(pinned));
  EXPECT_FALSE(is_here(other));
  const auto filling = blob(fourth);
  const auto all = evict({.blobs = {open_one, pinned, other, fourth}});
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->blobs.empty());
  EXPECT_EQ(all->open_bytes, 8 * kMiB);
  EXPECT_EQ(all->pinned_bytes, 4 * kMiB);
  EXPECT_EQ(store_->bounds().state().pinned, 4 * kMiB);
  EXPECT_EQ(*read_all(*held), content(0, 4 * kMiB));
}

TEST_F(EvictionTest, AnOnlyCopyStaysUnlessItIsOrdered) {
  open_bounded(8 * kMiB);
  const std::uint64_t only = put(0, 4 * kMiB), other = put(1, 4 * kMiB);
  only_copies_ = {only};
  (void)blob(other);  // the newest of all
  put(2, 4 * kMiB);
  EXPECT_TRUE(is_here(only));
  EXPECT_FALSE(is_here(other));
  const auto stayed = evict({.blobs = {only}});
  ASSERT_TRUE(stayed);
  EXPECT_TRUE(stayed->blobs.empty());
  EXPECT_EQ(stayed->only_copy_bytes, 4 * kMiB);
  EXPECT_EQ(store_->bounds().state().only_copies, 4 * kMiB);
  const auto went = evict({.blobs = {only}, .only_copies = true});
  ASSERT_TRUE(went);
  EXPECT_EQ(went->blobs, std::vector<std::uint64_t>{only});
  EXPECT_EQ(went->only_copy_bytes, 0u);
}

TEST_F(EvictionTest, WhereNothingMayGoBlocksAreServedAndNotKept) {
  open_bounded(4 * kMiB);
  const std::uint64_t first = put(0, 4 * kMiB);
  auto held = blob(first);
  const Bytes bytes = content(1, 3 * kMiB);
  const auto second = blob(add(bytes));
  const auto written = write_blocks(*second, {1, 1}, bytes);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::no_space);
  Bytes back(kMiB);
  ASSERT_TRUE(second->read(kMiB, back));
  EXPECT_TRUE(is_part(back, bytes, kMiB));
  EXPECT_LE(used(), 4 * kMiB);
  // As soon as the other is let go of, what is held in memory goes to the disk, too.
  held.reset();
  ASSERT_TRUE(fill(*second, bytes));
  EXPECT_FALSE(is_here(first));
  ASSERT_TRUE(heard_->wait(second->identity().number, 2));
  EXPECT_EQ(used(), 3 * kMiB);
}

TEST_F(EvictionTest, AFillingBlobGoesAndAnOrderIsTakenLiterally) {
  open_bounded(0);
  const Bytes bytes = content(1, 5 * kMiB);
  const std::uint64_t number = add(bytes);
  ASSERT_TRUE(write_blocks(*blob(number), {0, 2}, bytes));
  const std::uint64_t other = put(2, 100);
  auto dry = evict({.blobs = {number}, .dry_run = true});
  ASSERT_TRUE(dry);
  EXPECT_EQ(dry->blobs, std::vector{number});
  EXPECT_EQ(dry->bytes, 2 * kMiB);
  EXPECT_TRUE(is_here(number));
  ASSERT_TRUE(store_->flush());
  const auto went = evict({.blobs = {number}});
  ASSERT_TRUE(went);
  EXPECT_EQ(went->bytes, 2 * kMiB);
  EXPECT_FALSE(is_here(number));
  EXPECT_TRUE(is_here(other));
  EXPECT_EQ(used(), 100u);
  EXPECT_EQ(files_in("filling"), 0u);
  fill_and_verify(number, bytes);
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

TEST_F(EvictionTest, AStopBeforeTheFileIsGoneLeavesNothingUncounted) {
  open_bounded(0);
  const Bytes bytes = content(1, 3 * kMiB);
  const std::uint64_t number = put(1, 3 * kMiB);
  const Bytes file = file_content(verified_file(id_of(bytes)));
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {  // the commit of an eviction, and then a kill
    store_->write([&](WriteTxn& txn) { EXPECT_TRUE(evict_row(txn, number, 2)); }, std::move(done));
  }));
  close();
  ASSERT_EQ(file, bytes);
  open();
  allow();
  EXPECT_FALSE(fs::exists(verified_file(id_of(bytes))));
  EXPECT_EQ(used(), 0u);
  store_->read([&](const ReadTxn& txn) {
    EXPECT_FALSE(txn.get(Table::evictions, blob_key(number)));
  });
  // A note that was left, and is of an earlier incarnation, means nothing.
  fill_and_verify(number, bytes);
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) { txn.put(Table::evictions, blob_key(number), RecordWriter(1).u32(3)); },
        std::move(done));
  }));
  reopen_bounded();
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

TEST_F(EvictionTest, AnImportMakesRoomOrIsRefused) {
  open_bounded(6 * kMiB);
  const std::uint64_t first = put(0, 4 * kMiB);
  const Bytes bytes = content(1, 4 * kMiB), large = content(2, 7 * kMiB);
  const std::string source = directory_.path() + "/source";
  write_file(source, bytes);
  const std::uint64_t number = add(bytes), too_large = add(large);
  EXPECT_TRUE(wait_for<void>(
      [&](Done<void> done) { store_->import_file(number, source, std::move(done)); }));
  EXPECT_FALSE(is_here(first));
  EXPECT_EQ(used(), 4 * kMiB);
  write_file(source, large);
  const auto refused = wait_for<void>(
      [&](Done<void> done) { store_->import_file(too_large, source, std::move(done)); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_TRUE(fs::exists(source));
}

// Eight readers of a set four times as large as the limit, who fetch what they miss.
TEST_F(EvictionTest, TheLimitHoldsUnderParallelWriters) {
  constexpr std::uint64_t kBlobs = 64, kSize = kMiB + 5'000, kLimit = kBlobs * kSize / 4;
  open_bounded(kLimit);
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < kBlobs; ++i) {
    contents.push_back(content(i, kSize));
    numbers.push_back(add(contents.back()));
  }
  std::atomic<bool> over{false}, wrong{false}, done{false};
  std::atomic<int> refused{0};
  std::jthread watcher([&] {
    while (!done) {
      if (store_->bounds().state().used > kLimit) over = true;
      // A walk is no snapshot: what moves meanwhile may be counted twice, but not each time.
      const auto on_disk = std::min({bytes_on_disk(), bytes_on_disk(), bytes_on_disk()});
      if (on_disk > kLimit + 4 * kMiB) over = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  {
    std::vector<std::jthread> readers;
    for (unsigned reader = 0; reader < 8; ++reader)
      readers.emplace_back([&, reader] {
        std::mt19937 random(reader);
        for (int turn = 0; turn < 60; ++turn) {
          const std::size_t i = random() % kBlobs;
          const auto opened = store_->open_blob(numbers[i]);
          if (!opened) {
            wrong = true;
            return;
          }
          for (BlockIndex block = 0; block < 2; ++block) {
            const ByteRange range = bytes_of(block, kSize);
            Bytes back(range.size);
            for (int tries = 0; !(*opened)->readable(range) && tries < 100; ++tries)
              if (!write_blocks(**opened, {block, 1}, contents[i])) ++refused;
            if (!(*opened)->read(range.offset, back) || !is_part(back, contents[i], range.offset))
              wrong = true;
          }
        }
      });
  }
  done = true;
  watcher.join();
  EXPECT_FALSE(over);
  EXPECT_FALSE(wrong);
  EXPECT_EQ(refused, 0);  // there was always something that could go
  EXPECT_GT(metrics_.value(Metric::blobs_evicted), 50);
  ASSERT_TRUE(store_->flush());
  std::uint64_t held = 0;
  for (const std::uint64_t number : numbers) held += store_->blob(number)->bytes_here;
  EXPECT_EQ(used(), held);
  for (int turn = 0; turn < 100 && store_->bounds().state().unlinked > 0; ++turn)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(store_->bounds().state().unlinked, 0u);
  reopen_bounded();
  EXPECT_EQ(used(), held);
  for (std::uint64_t i = 0; i < kBlobs; ++i) {
    if (store_->blob(numbers[i])->verified) {
      EXPECT_EQ(*read_all(*blob(numbers[i])), contents[i]);
    }
  }
}

// The child fills and reads until it is killed, with room for a quarter. One byte for each verdict.
[[noreturn]] void churn(const StoreOptions& options, const std::vector<Bytes>& contents,
                        unsigned seed, int verdicts) {
  Metrics metrics;
  auto opened = Store::open(options, system_disk(), system_clock(), metrics);
  if (!opened) ::_exit(3);
  Store& store = **opened;
  store.bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  std::vector<std::uint64_t> numbers;
  for (const Bytes& bytes : contents)
    numbers.push_back(add_blob(store, id_of(bytes), bytes.size()));
  store.on_incarnation([verdicts](const BlobInfo& info) {
    if (info.verified) (void)!::write(verdicts, "x", 1);
  });
  std::mt19937 random(seed);
  while (true) {
    const std::size_t i = random() % contents.size();
    const auto blob = store.open_blob(numbers[i]);
    if (!blob) ::_exit(4);
    if (random() % 16 == 0)
      store.bounds().evict({.blobs = {numbers[random() % numbers.size()]}}, [](const auto&) {});
    (void)fill(**blob, contents[i]);
  }
}

TEST_F(EvictionTest, KilledWhileItEvictsAndFillsNothingIsWrong) {
  // Many rounds by hand: HFFS_KILL_ROUNDS=1000.
  const char* asked = std::getenv("HFFS_KILL_ROUNDS");
  const int rounds = asked != nullptr ? std::atoi(asked) : 15;
  std::vector<Bytes> contents;
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < 24; ++i) {
    contents.push_back(content(100 + i, i % 3 == 0 ? 2'000 + i : i * kMiB / 8 + 17));
    total += contents.back().size();
  }
  options_.sync_interval = std::chrono::milliseconds(3);
  options_.limits.max_size = total / 4;
  std::mt19937 random(4242);
  std::uint64_t verified = 0;
  for (int round = 0; round < rounds; ++round) {
    int verdicts[2];
    ASSERT_EQ(::pipe2(verdicts, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) churn(options_, contents, static_cast<unsigned>(round), verdicts[1]);
    ::close(verdicts[1]);
    // At a random place of its work, however fast that is.
    char byte = 0;
    for (unsigned heard = random() % 12; heard > 0; --heard) ASSERT_EQ(::read(verdicts[0], &byte, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ::close(verdicts[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended with " << WEXITSTATUS(status);

    ASSERT_NO_FATAL_FAILURE(open());
    allow();
    std::uint64_t held = 0;
    for (const Bytes& bytes : contents) {
      const std::uint64_t number = add(bytes);
      const auto row = row_of(*store_, number);
      const auto opened = blob(number);
      ASSERT_TRUE(opened);
      held += opened->identity().bytes_here;
      for (BlockIndex block = 0; block < block_count(row->size); ++block) {
        const ByteRange range = bytes_of(block, row->size);
        if (row->verified || row->claimed.test(block)) {
          ASSERT_TRUE(opened->readable(range));
        }
        if (!opened->readable(range)) continue;
        Bytes back(range.size);
        ASSERT_TRUE(opened->read(range.offset, back));
        ASSERT_TRUE(is_part(back, bytes, range.offset)) << number << " block " << block;
      }
      verified += opened->identity().verified ? 1 : 0;
    }
    ASSERT_LE(held, total / 4 + kMiB);
    // Every file belongs to a row.
    for (const auto& each : fs::recursive_directory_iterator(root() + "/blobs")) {
      if (!each.is_regular_file()) continue;
      const auto found = std::ranges::find_if(contents, [&](const Bytes& bytes) {
        return id_of(bytes).hex() == each.path().filename();
      });
      ASSERT_NE(found, contents.end());
      // One that was moved, and whose commit the kill forestalled, is hashed again.
      const std::uint64_t number = add(*found);
      for (int turn = 0; turn < 1'000 && !store_->blob(number)->verified; ++turn)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      EXPECT_TRUE(store_->blob(number)->verified) << each.path();
    }
    close();
  }
  EXPECT_GT(verified, static_cast<std::uint64_t>(rounds));
}

}  // namespace
}  // namespace hffs::test
