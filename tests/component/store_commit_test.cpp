// SPDX-License-Identifier: Apache-2.0
//
// A disk that does not take what LMDB writes: its pages, its syncs, its meta pages. Commits fail, reading
// goes on, and the first commit that the disk takes is like any other.
#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

#include "store_fixture.h"

namespace {

// Which of LMDB's calls fail, and how.
enum Call { kPage, kMeta, kSync };
constexpr const char* kCalls[] = {"page", "meta", "sync"};
std::atomic<int> failing_call{-1}, failing_errno{0}, countdown{0}, failed_calls{0};
std::atomic<bool> always{false};

bool is_index(int fd) {
  char name[512];
  const ssize_t size = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), name, sizeof(name));
  return size > 0 && std::string_view(name, static_cast<std::size_t>(size)).ends_with("/data.mdb");
}

bool fails(Call call, int fd) {
  if (failing_call != call || !is_index(fd)) return false;
  if (!always && countdown-- != 0) return false;
  ++failed_calls;
  errno = failing_errno;
  return true;
}

}  // namespace

// In place of the C library's. The names are LMDB's: the store itself calls pwrite64. A meta page is one of
// the first two of the file.
extern "C" {
ssize_t lmdb_pwrite(int fd, const void* bytes, size_t size, off_t at) __asm__("pwrite");
ssize_t lmdb_pwrite(int fd, const void* bytes, size_t size, off_t at) {
  if (fails(at < 2 * 4'096 ? kMeta : kPage, fd)) return -1;
  return ::syscall(SYS_pwrite64, fd, bytes, size, at);
}
ssize_t lmdb_writev(int fd, const iovec* parts, int count) __asm__("writev");
ssize_t lmdb_writev(int fd, const iovec* parts, int count) {
  if (fails(kPage, fd)) return -1;
  return ::syscall(SYS_writev, fd, parts, count);
}
int lmdb_fdatasync(int fd) __asm__("fdatasync");
int lmdb_fdatasync(int fd) {
  if (fails(kSync, fd)) return -1;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
}

namespace hffs::test {
namespace {

class CommitTest : public StoreTest, public testing::WithParamInterface<int> {
 protected:
  CommitTest() { options_.sync_interval = std::chrono::milliseconds(5); }
  ~CommitTest() override { heal(); }

  void fail_from(int call, int nth, int error, bool for_ever) {
    failing_errno = error;
    countdown = nth;
    failed_calls = 0;
    always = for_ever;
    failing_call = call;
  }
  void heal() { failing_call = -1; }

  Result<void> put(const std::string& key, const std::string& value = "v") {
    return wait_for<void>([&](Done<void> done) {
      store_->write([&](WriteTxn& txn) { txn.put(Table::repos, key, value); }, std::move(done));
    });
  }
  bool has(const std::string& key) {
    bool found = false;
    store_->read([&](const ReadTxn& txn) { found = txn.get(Table::repos, key).has_value(); });
    return found;
  }
  bool fill_at_last(std::uint64_t number, const Bytes& bytes) {
    for (int i = 0; i < 4'000; ++i) {
      const auto opened = store_->open_blob(number);
      if (opened) {
        if ((*opened)->identity().verified) return *read_all(**opened) == bytes;
        (void)fill(**opened, bytes);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
};

TEST_P(CommitTest, OneThatFailsIsToldAndTheNextSucceeds) {
  open();
  for (const int error : {ENOSPC, EIO, EDQUOT}) {
    ASSERT_TRUE(put("before"));
    fail_from(GetParam(), 0, error, false);
    const auto failed = put("lost", std::string(20'000, 'x'));
    ASSERT_EQ(failed_calls, 1) << "LMDB does not write as it is thought to";
    heal();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, error == EIO ? Code::io : Code::no_space);
    EXPECT_TRUE(has("before"));
    EXPECT_FALSE(has("lost"));
    EXPECT_TRUE(put("after"));
    EXPECT_TRUE(has("after"));
  }
  reopen();
  EXPECT_TRUE(store_->damages().empty());
  EXPECT_TRUE(has("before") && has("after"));
}

TEST_P(CommitTest, ADiskThatTakesNoneForAWhileIsReadFrom) {
  open();
  const Bytes kept = content(1, kBlockSize + 5);
  fill_and_verify(add(kept), kept);
  const std::uint64_t kept_number = add(kept);
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < 6; ++i) {
    contents.push_back(content(10 + i, (i % 3) * kBlockSize + 77));
    numbers.push_back(add(contents.back()));
  }
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, reads{0};
  const auto read = [&] {
    while (!stop) {
      const auto opened = store_->open_blob(kept_number);
      if (!opened || *read_all(**opened) != kept) ++wrong;
      store_->read([&](const ReadTxn& txn) {
        if (!store_->find_blob(txn, kept_number)) ++wrong;
      });
      ++reads;
    }
  };
  std::vector<std::jthread> readers;
  for (int i = 0; i < 3; ++i) readers.emplace_back(read);
  for (int round = 0; round < 8; ++round) {
    fail_from(GetParam(), 0, round % 2 == 0 ? ENOSPC : EIO, true);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (const auto opened = store_->open_blob(numbers[i])) {
        (void)fill(**opened, contents[i]);
        Bytes some(50);
        if ((*opened)->readable({0, 50}) && (*opened)->read(0, some) && !is_part(some, contents[i], 0))
          ++wrong;
      }
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    heal();
    ASSERT_TRUE(put(fmt::format("round{}", round)));
  }
  for (std::size_t i = 0; i < numbers.size(); ++i)
    EXPECT_TRUE(fill_at_last(numbers[i], contents[i])) << i;
  stop = true;
  readers.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(reads, 8);
  reopen();
  EXPECT_TRUE(store_->damages().empty());
  for (int round = 0; round < 8; ++round) EXPECT_TRUE(has(fmt::format("round{}", round)));
  for (std::size_t i = 0; i < numbers.size(); ++i)
    EXPECT_EQ(*read_all(*blob(numbers[i])), contents[i]);
}

// Each of them in turn, through everything that a store writes.
TEST_P(CommitTest, EachFailsOnceAndNothingIsWrongOrWedged) {
  const Bytes first = content(31, 2 * kBlockSize + 5), second = content(32, 700);
  int reached = 0;
  for (int nth = 0; nth < 60; ++nth) {
    SCOPED_TRACE(fmt::format("{} {} fails", kCalls[GetParam()], nth));
    std::filesystem::remove_all(root());
    heard_ = std::make_unique<Heard>();
    fail_from(GetParam(), nth, nth % 2 == 0 ? ENOSPC : EIO, false);
    if (!try_open()) open();
    std::uint64_t one = 0, two = 0;
    for (int i = 0; i < 3 && (one == 0 || two == 0); ++i)
      (void)wait_for<void>([&](Done<void> done) {
        store_->write(
            [&](WriteTxn& txn) {
              one = store_->add_blob(txn, id_of(first), first.size());
              two = store_->add_blob(txn, id_of(second), second.size());
            },
            [&, done = std::move(done)](Result<void> r) mutable {
              if (!r) one = two = 0;
              done(std::move(r));
            });
      });
    ASSERT_TRUE(fill_at_last(one, first));
    ASSERT_TRUE(fill_at_last(two, second));
    (void)store_->flush();
    close();
    const bool hit = failed_calls > 0;
    heal();
    open();
    ASSERT_EQ(*read_all(*blob(one)), first);
    ASSERT_EQ(*read_all(*blob(two)), second);
    ASSERT_TRUE(blob(one)->identity().verified && blob(two)->identity().verified);
    close();
    if (!hit) break;
    reached = nth + 1;
  }
  EXPECT_GT(reached, 3);
  EXPECT_LT(reached, 60);
  RecordProperty("call_sites", reached);
}

INSTANTIATE_TEST_SUITE_P(Calls, CommitTest, testing::Values(kPage, kMeta, kSync),
                         [](const auto& param) { return kCalls[param.param]; });

}  // namespace
}  // namespace hffs::test
