// SPDX-License-Identifier: Apache-2.0
//
// A disk that is really full, and an index that is.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

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

// Runs `body` in a process with a file system of 24 MiB at `path`. What it returns is what is
// wrong; "skip" if this machine does not allow it.
std::string on_a_small_disk(const std::string& path, const std::function<std::string()>& body) {
  int answer[2];
  if (::pipe2(answer, O_CLOEXEC) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text = "skip";
    if (::unshare(CLONE_NEWNS) == 0 &&
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
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
      if (!is_part(back, large, block * kBlockSize))
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
      if (!is_part(back, large, block * kBlockSize))
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

// Others fill the disk; the store gives way, and takes its part again.
TEST_F(FaultTest, ASmallDiskKeepsSomeFree) {
  disk_ = &system_disk();
  constexpr std::uint64_t kFree = 6 * kBlockSize;
  options_.limits.min_free = kFree;
  const std::string wrong = on_a_small_disk(directory_.path(), [&]() -> std::string {
    if (auto opened = try_open(); !opened) return opened.error().message;
    store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
    const auto free = [&] { return store_->usage().free_bytes; };
    std::vector<Bytes> contents;
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t i = 0; i < 10; ++i) {
      contents.push_back(content(i, 4 * kBlockSize));
      numbers.push_back(add(contents[i]));
      if (!fill_at_last(numbers[i], contents[i])) return fmt::format("blob {} is not verified", i);
      // The index takes some, too.
      if (free() + kBlockSize < kFree) return fmt::format("only {} bytes are free", free());
    }
    if (*read_all(*blob(numbers[9])) != contents[9]) return "the last blob is wrong";
    {
      std::ofstream other(directory_.path() + "/others");
      const std::uint64_t size = free() - kBlockSize;
      const std::string bytes(size, 'x');
      if (!other.write(bytes.data(), static_cast<std::streamsize>(size)).flush())
        return "the disk cannot be filled";
    }
    // For so long the store trusts that what it removed will be free.
    std::this_thread::sleep_for(std::chrono::milliseconds(3'200));
    auto filling = blob(numbers[0]);
    int kept = 0;
    for (BlockIndex block = 0; block < 4; ++block) {
      const auto written = write_blocks(*filling, {block, 1}, contents[0]);
      if (!written && written.error().code != Code::no_space) return written.error().message;
      kept += written ? 1 : 0;
      Bytes back(kBlockSize);
      if (!filling->read(block * kBlockSize, back)) return "a block is not served";
      if (!is_part(back, contents[0], block * kBlockSize)) return "a block is wrong";
    }
    if (metrics_.value(Metric::blobs_evicted) < 8) return "too few blobs gave way";
    fs::remove(directory_.path() + "/others");
    filling.reset();
    for (std::uint64_t i = 0; i < 3; ++i)
      if (!fill_at_last(numbers[i], contents[i])) return "nothing is kept though there is room";
    close();
    return HasFailure() ? "an expectation failed" : "";
  });
  if (wrong == "skip") GTEST_SKIP() << "mounting needs root";
  EXPECT_EQ(wrong, "");
}

// The disk takes neither removals nor commits while room is to be made.
TEST_F(FaultTest, EvictionsThatFailLoseNothing) {
  options_.limits.max_size = 6 * kBlockSize;
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  const Bytes first = content(1, 4 * kBlockSize), second = content(2, 4 * kBlockSize);
  const std::uint64_t one = add(first), two = add(second);
  ASSERT_TRUE(fill_at_last(one, first));
  fail_always(Op::remove, Code::no_space);
  EXPECT_TRUE(fill_at_last(two, second));
  // The file that could not be removed counts no more: it is not found again, and the blob is fetched.
  EXPECT_FALSE(blob(one)->readable({0, 1}));
  EXPECT_LE(store_->bounds().state().used, 6 * kBlockSize);
  EXPECT_TRUE(fill_at_last(one, first));
  EXPECT_LE(store_->bounds().state().used, 6 * kBlockSize);
  heal();
  ASSERT_TRUE(store_->flush());
  close();
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  EXPECT_TRUE(wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
    store_->bounds().evict({}, std::move(done));  // both are there
  }));
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(fill_at_last(one, first));
    EXPECT_EQ(*read_all(*blob(one)), first);
    EXPECT_TRUE(fill_at_last(two, second));
    EXPECT_EQ(*read_all(*blob(two)), second);
    EXPECT_LE(store_->bounds().state().used, 6 * kBlockSize);
  }
  // What is on the disk is what is counted.
  std::uint64_t bytes = 0;
  for (const auto& each : fs::recursive_directory_iterator(root() + "/blobs"))
    if (each.is_regular_file()) bytes += each.file_size();
  EXPECT_LE(bytes, 6 * kBlockSize);
}

}  // namespace
}  // namespace hffs::test
