// SPDX-License-Identifier: Apache-2.0
//
// Disks that fail: each kind of call in turn, once; for a while; and a disk that is really full.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "faulty_disk.h"
#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

class FaultTest : public StoreTest {
 protected:
  FaultTest() {
    options_.sync_interval = std::chrono::milliseconds(5);
    disk_ = &faulty_;
  }
  // The `nth` (from 0) call of kind `op` from now on fails.
  void fail_once(Op op, int nth, Code code) {
    const std::lock_guard lock(mutex_);
    op_ = op;
    countdown_ = nth;
    code_ = code;
    always_ = false;
  }
  void fail_always(Op op, Code code) {
    fail_once(op, 0, code);
    always_ = true;
  }
  void heal() {
    always_ = false;
    const std::lock_guard lock(mutex_);
    countdown_ = -1;
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return countdown_ < 0;
  }
  // As transfer does it: whatever is missing is fetched until the blob is verified.
  bool fill_at_last(std::uint64_t number, const Bytes& bytes) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
      const auto opened = store_->open_blob(number);
      if (opened) {
        if ((*opened)->identity().verified && read_all(**opened)) return true;
        (void)fill(**opened, bytes);
        // What can be read is right, at any time.
        Bytes some(std::min<std::uint64_t>(bytes.size(), 4'096));
        if (const auto count = (*opened)->read(0, some); count) {
          EXPECT_TRUE(std::equal(some.begin(), some.end(), bytes.begin()));
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  // Unless the disk took bytes away, so that none will come.
  void wait_for_verdict(std::uint64_t number, std::uint64_t size) {
    for (int i = 0; i < 2'000; ++i) {
      const auto opened = store_->open_blob(number);
      if (opened && ((*opened)->identity().incarnation > 1 || !(*opened)->missing({0, size}).empty()))
        return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void run_scenario();

  FaultyDisk faulty_{[this](Op op, const std::string&) -> Result<void> {
    if (hook_) return hook_(op);
    const std::lock_guard lock(mutex_);
    if (countdown_ < 0 || op != op_) return {};
    if (!always_ && countdown_-- > 0) return {};
    return fail(code_, "{} fails here", name_of(op));
  }};
  std::function<Result<void>(Op)> hook_;  // in place of the rest
  std::mutex mutex_;
  Op op_ = Op::open;  // below: guarded by mutex_
  int countdown_ = -1;
  Code code_ = Code::io;
  std::atomic<bool> always_{false};
};

// Everything a store does to a disk: opening, filling, a wrong blob, an import, closing, opening.
void FaultTest::run_scenario() {
  const std::array contents{content(1, 2 * kBlockSize + 5), content(2, 700), content(3, kBlockSize)};
  const Bytes imported = content(4, kBlockSize + 9);
  std::vector<std::uint64_t> numbers;
  if (!try_open()) open();  // a fault at opening leaves nothing that the next one cannot use
  for (const Bytes& bytes : contents) numbers.push_back(add(bytes));
  const std::uint64_t imported_number = add(imported);
  // The third arrives wrong.
  if (auto opened = store_->open_blob(numbers[2])) (void)fill(**opened, content(9, kBlockSize));
  const std::string source = directory_.path() + "/imported";
  for (int i = 0; i < 3; ++i) {
    write_file(source, imported);
    if (wait_for<void>([&](Done<void> done) {
          store_->import_file(imported_number, source, std::move(done));
        }))
      break;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i == 2) wait_for_verdict(numbers[2], contents[2].size());
    ASSERT_TRUE(fill_at_last(numbers[i], contents[i])) << "blob " << i << " is wedged";
  }
  (void)store_->flush();
  heard_ = std::make_unique<Heard>();
  close();
  disk_ = &system_disk();
  open();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto opened = blob(numbers[i]);
    ASSERT_TRUE(opened->identity().verified) << i;
    ASSERT_EQ(*read_all(*opened), contents[i]) << i;
  }
  ASSERT_TRUE(fill_at_last(imported_number, imported));
  ASSERT_EQ(*read_all(*blob(imported_number)), imported);
  close();
}

class EachCallTest : public FaultTest, public testing::WithParamInterface<int> {};

TEST_P(EachCallTest, FailsOnceAndNothingIsWrongOrWedged) {
  const Op op = static_cast<Op>(GetParam());
  int reached = 0;
  for (int nth = 0; nth < 60; ++nth) {
    bool hit = false;
    for (const Code code : {Code::no_space, Code::io}) {
      SCOPED_TRACE(fmt::format("{} call {} fails with {}", name_of(op), nth, info(code).name));
      fs::remove_all(root());
      disk_ = &faulty_;
      fail_once(op, nth, code);
      run_scenario();
      if (HasFatalFailure()) return;
      hit = hit || failed();
      heal();
    }
    if (!hit) break;
    reached = nth + 1;
  }
  // The store resizes no file.
  if (op == Op::truncate)
    EXPECT_EQ(reached, 0);
  else
    EXPECT_GT(reached, 0) << name_of(op);
  EXPECT_LT(reached, 60);
  RecordProperty("call_sites", reached);
}
INSTANTIATE_TEST_SUITE_P(Ops, EachCallTest, testing::Range(0, kOps),
                         [](const auto& param) { return name_of(static_cast<Op>(param.param)); });

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
  EXPECT_TRUE(std::equal(some.begin(), some.end(), bytes.begin() + kBlockSize / 2));
  EXPECT_EQ(filling->missing({0, 5 * kBlockSize}), (std::vector<BlockRun>{{3, 2}}));
  EXPECT_EQ(row_of(*store_, number)->bytes_here(), 0u);
  // The oldest make room; memory stays bounded. The last ones, a short block among them, are there.
  for (BlockIndex block = 3; block <= 40; ++block)
    EXPECT_EQ(write_blocks(*filling, {block, 1}, bytes).error().code, Code::no_space);
  EXPECT_FALSE(filling->readable({0, 1}));
  EXPECT_EQ(filling->missing({0, bytes.size()}), (std::vector<BlockRun>{{0, 9}}));
  // A block that is fetched again is as new as its last arrival.
  EXPECT_FALSE(write_blocks(*filling, {9, 1}, bytes));
  for (BlockIndex block = 0; block < 5; ++block) EXPECT_FALSE(write_blocks(*filling, {block, 1}, bytes));
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

// The claim of synced blocks waits for the index while the verifier's own sync fails: the blocks are
// durable, so they stay, and the verdict comes without anybody writing again.
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
  store_->write([&](WriteTxn&) { if (hold.valid()) hold.get(); }, [](auto) {});
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
  EXPECT_TRUE(blob(number)->identity().verified);
}

TEST_F(FaultTest, AFullMapFailsOneCommitAndNoLaterOne) {
  options_.map_size = std::uint64_t{1} << 20;
  open();
  const auto put = [&](const std::string& key, std::size_t size) {
    return wait_for<void>([&](Done<void> done) {
      store_->write([&](WriteTxn& txn) { txn.put(Table::repos, key, std::string(size, 'v')); },
                    std::move(done));
    });
  };
  ASSERT_TRUE(put("small", 10));
  const auto full = put("large", 4 << 20);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::no_space);
  EXPECT_TRUE(put("small2", 10));
  store_->read([](const ReadTxn& txn) {
    EXPECT_TRUE(txn.get(Table::repos, "small"));
    EXPECT_FALSE(txn.get(Table::repos, "large"));
    EXPECT_TRUE(txn.get(Table::repos, "small2"));
  });
  // Filled to the brim by many: the last ones fail, reading goes on, and a larger map takes them.
  int i = 0;
  while (i < 1'000 && put(fmt::format("row{}", i), 3'000)) ++i;
  EXPECT_GT(i, 50);
  EXPECT_LT(i, 1'000);
  close();
  options_.map_size = std::uint64_t{8} << 20;
  open();
  EXPECT_TRUE(put("large", 4 << 20));
}

// Runs `body` in a process with a file system of 24 MiB at `path`. What it returns is what is wrong;
// "skip" if this machine does not allow it.
std::string on_a_small_disk(const std::string& path, const std::function<std::string()>& body) {
  int answer[2];
  if (::pipe2(answer, O_CLOEXEC) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text = "skip";
    if (::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("hffs-test", path.c_str(), "tmpfs", 0, "size=24m") == 0)
      text = body();
    (void)!::write(answer[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(answer[1]);
  std::string text(4'096, '\0');
  std::size_t size = 0;
  for (ssize_t count; (count = ::read(answer[0], text.data() + size, text.size() - size)) > 0;)
    size += static_cast<std::size_t>(count);
  ::close(answer[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return fmt::format("the process ended with status {}", status);
  text.resize(size);
  return text;
}

TEST_F(FaultTest, ADiskThatIsReallyFull) {
  disk_ = &system_disk();
  const std::string wrong = on_a_small_disk(directory_.path(), [&]() -> std::string {
    if (auto opened = try_open(); !opened) return opened.error().message;
    const Bytes small = content(1, 2 * kBlockSize), large = content(2, 60 * kBlockSize);
    const std::uint64_t first = add(small), second = add(large);
    if (!fill_at_last(first, small)) return "the small blob is not verified";
    auto filling = blob(second);
    int refused = 0;
    for (BlockIndex block = 0; block < 60; ++block) {
      const auto written = write_blocks(*filling, {block, 1}, large);
      if (!written && written.error().code != Code::no_space) return written.error().message;
      refused += written ? 0 : 1;
      Bytes back(kBlockSize);
      const auto count = filling->read(block * kBlockSize, back);
      if (!count) return fmt::format("block {} is not readable: {}", block, count.error().message);
      if (!std::equal(back.begin(), back.end(), large.begin() + block * kBlockSize))
        return fmt::format("block {} is wrong", block);
    }
    if (refused < 30) return fmt::format("only {} blocks were refused", refused);
    (void)store_->flush();  // the index may have no room either
    if (*read_all(*blob(first)) != small) return "the small blob changed";
    // Room again: the first blob's file goes, its next incarnation begins.
    filling.reset();
    close();
    if (auto opened = try_open(); !opened)
      return fmt::format("a full disk cannot be opened: {}", opened.error().message);
    const auto row = row_of(*store_, second);
    if (!row) return "the row is gone";
    filling = blob(second);
    for (BlockIndex block = 0; block < 60; ++block) {
      if (!row->claimed.test(block)) continue;
      Bytes back(kBlockSize);
      if (!filling->read(block * kBlockSize, back)) return "a claimed block cannot be read";
      if (!std::equal(back.begin(), back.end(), large.begin() + block * kBlockSize))
        return "a claimed block is wrong";
    }
    filling.reset();
    close();
    fs::remove_all(root() + "/filling");
    if (auto opened = try_open(); !opened) return opened.error().message;
    const Bytes other = content(3, 5 * kBlockSize + 3);
    if (!fill_at_last(add(other), other)) return "after there is room again, nothing is kept";
    close();
    return HasFailure() ? "an expectation failed" : "";
  });
  if (wrong == "skip") GTEST_SKIP() << "mounting needs root";
  EXPECT_EQ(wrong, "");
}

}  // namespace
}  // namespace hffs::test
