// SPDX-License-Identifier: Apache-2.0
//
// What other processes do to a store: they are killed at any instant, they hold it, they come from
// a later version, they put it where it must not be.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "store_fixture.h"

namespace {
std::atomic<std::uint32_t> fake_file_system{0};
}

// In place of the C library's: what the store sees of a file system that no test can mount.
extern "C" int statfs64(const char* path, struct statfs64* into) noexcept {
  const auto status = static_cast<int>(::syscall(SYS_statfs, path, into));
  if (status == 0 && fake_file_system != 0) into->f_type = fake_file_system;
  return status;
}

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kWritten = 12;
std::uint64_t size_of_blob(int i) {
  return i % 3 == 0 ? 1'000 + static_cast<std::uint64_t>(i)
                    : static_cast<std::uint64_t>(i) * kBlockSize / 2 + 13;
}
// Some blobs arrive wrong once, in each process that fills them.
bool arrives_wrong(int i) {
  return i % 5 == 4;
}

struct Known {
  std::vector<Bytes> contents;
  std::vector<BlobId> ids;
};
Known known_blobs(std::uint64_t generation) {
  Known known;
  for (int i = 0; i < kWritten; ++i) {
    known.contents.push_back(
        content(generation * 100 + static_cast<std::uint64_t>(i), size_of_blob(i)));
    known.ids.push_back(id_of(known.contents.back()));
  }
  return known;
}

// The child: fills in random order from two threads, until it is killed. One byte for each block.
[[noreturn]] void fill_for_ever(const StoreOptions& options, const Known& known, unsigned seed,
                                int blocks) {
  Metrics metrics;
  auto opened = Store::open(options, system_disk(), system_clock(), metrics);
  if (!opened) ::_exit(3);
  Store& store = **opened;
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < kWritten; ++i)
    numbers.push_back(add_blob(store, known.ids[static_cast<std::size_t>(i)], size_of_blob(i)));
  (void)!::write(blocks, "x", 1);  // and one at the start
  const auto work = [&](unsigned thread) {
    std::mt19937 random(seed * 2 + thread);
    while (true) {
      const std::size_t i = random() % kWritten;
      const auto blob = store.open_blob(numbers[i]);
      if (!blob) ::_exit(4);
      const auto missing = (*blob)->missing({0, known.contents[i].size()});
      if (missing.empty()) continue;
      const BlockRun run = missing[random() % missing.size()];
      const BlockIndex block = run.first + random() % run.count;
      if (arrives_wrong(static_cast<int>(i)) && (*blob)->identity().incarnation == 1) {
        (void)write_blocks(**blob, {block, 1}, content(7, known.contents[i].size()));
      } else {
        (void)write_blocks(**blob, {block, 1}, known.contents[i]);
      }
      (void)!::write(blocks, "x", 1);
    }
  };
  std::jthread other(work, 1);
  work(0);
  ::_exit(5);
}

class CrashTest : public StoreTest {
 protected:
  // Every claimed block of a blob that never arrives wrong has its bytes, and so does every
  // verified blob.
  void check(const Known& known) {
    for (std::size_t i = 0; i < kWritten; ++i) {
      const std::uint64_t number = add_blob(*store_, known.ids[i], known.contents[i].size());
      const auto row = row_of(*store_, number);
      ASSERT_TRUE(row);
      const auto opened = blob(number);
      const bool right = opened->identity().verified || !arrives_wrong(static_cast<int>(i)) ||
                         row->incarnation > 1;
      for (BlockIndex block = 0; block < block_count(row->size); ++block) {
        if (!row->verified && !row->claimed.test(block)) continue;
        const ByteRange range = bytes_of(block, row->size);
        // The verdict may have come since the row was read.
        if (!right && !opened->readable(range)) break;
        Bytes bytes(range.size);
        const auto count = opened->read(range.offset, bytes);
        if (!right && !count) break;
        ASSERT_TRUE(count) << count.error().message;
        ++claimed_;
        if (right) {
          ASSERT_TRUE(is_part(bytes, known.contents[i], range.offset))
              << "blob " << i << " block " << block;
        }
      }
      if (opened->identity().verified) ++verified_;
    }
  }
  std::uint64_t claimed_ = 0, verified_ = 0;
};

TEST_F(CrashTest, KilledAtAnyInstantNothingWrongIsClaimed) {
  options_.sync_interval = std::chrono::milliseconds(3);
  std::mt19937 random(12345);
  std::vector<std::chrono::milliseconds> opening;
  // A child that is killed tells of no race: with a sanitizer it is the store that opens which is looked at.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr std::uint64_t kRounds = 12;
#else
  constexpr std::uint64_t kRounds = 30;
#endif
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const Known known = known_blobs(round / 6);  // each generation is continued five times
    int blocks[2];
    ASSERT_EQ(::pipe2(blocks, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) fill_for_ever(options_, known, static_cast<unsigned>(round), blocks[1]);
    ::close(blocks[1]);
    char byte = 0;
    ASSERT_EQ(::read(blocks[0], &byte, 1), 1);
    // At a random place of its work, however fast that is; it may be done before.
    pollfd more{.fd = blocks[0], .events = POLLIN, .revents = 0};
    for (unsigned left = random() % 24; left > 0 && ::poll(&more, 1, 100) == 1; --left)
      ASSERT_EQ(::read(blocks[0], &byte, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ::close(blocks[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended with " << WEXITSTATUS(status);

    const auto begun = std::chrono::steady_clock::now();
    ASSERT_NO_FATAL_FAILURE(open());
    opening.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begun));
    ASSERT_NO_FATAL_FAILURE(check(known));
    if (round % 6 == 5) {
      // What is left can be filled and verified by another process.
      for (std::size_t i = 0; i < kWritten; ++i) {
        const std::uint64_t number = add_blob(*store_, known.ids[i], known.contents[i].size());
        for (int turn = 0; turn < 500 && !store_->blob(number)->verified; ++turn) {
          (void)fill(*blob(number), known.contents[i]);
          (void)store_->flush();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        ASSERT_TRUE(store_->blob(number)->verified) << i;
        ASSERT_EQ(*read_all(*blob(number)), known.contents[i]);
      }
    }
    close();
  }
  EXPECT_GT(claimed_, 100u);
  EXPECT_GT(verified_, 10u);
  // Not the slowest: other work on the machine must not fail this.
  std::sort(opening.begin(), opening.end());
  EXPECT_LT(opening[opening.size() / 2].count(), 500);
  RecordProperty("slowest_open_ms", static_cast<int>(opening.back().count()));
}

TEST_F(CrashTest, RecoveryIsShortWithManyRows) {
  open();
  for (std::uint64_t batch = 0; batch < 20; ++batch)
    ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
      store_->write(
          [&](WriteTxn& txn) {
            for (std::uint64_t i = 0; i < 1'000; ++i)
              store_->add_blob(txn, *BlobId::parse(fmt::format("{:040x}", batch * 1'000 + i)),
                               std::uint64_t{40} << 30);
          },
          std::move(done));
    }));
  const auto begun = std::chrono::steady_clock::now();
  reopen();
  EXPECT_EQ(store_->usage().blobs, 20'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

TEST_F(CrashTest, AnotherProcessHasIt) {
  int ready[2], end[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(end, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(end[1]);
    Metrics metrics;
    auto opened = Store::open(options_, system_disk(), system_clock(), metrics);
    char byte = opened ? 'y' : 'n';
    (void)!::write(ready[1], &byte, 1);
    (void)!::read(end[0], &byte, 1);
    if (opened) opened->reset();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  const auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::busy);
  EXPECT_NE(opened.error().message.find(fmt::format("process {}", child)), std::string::npos)
      << opened.error().message;
  for (const int fd : {ready[0], ready[1], end[0], end[1]}) ::close(fd);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(try_open());
}

TEST_F(CrashTest, ANewerFormatIsRefusedAndLeftAlone) {
  open();
  const Bytes bytes = content(1, 100);
  fill_and_verify(add(bytes), bytes);
  close();
  const Bytes format = file_content(root() + "/FORMAT");
  std::ofstream(root() + "/FORMAT") << "hffs-store\nversion 2\nblock 1048576\n";
  const Bytes index = file_content(root() + "/index/data.mdb");
  const auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unsupported);
  EXPECT_NE(opened.error().message.find("version 2"), std::string::npos);
  EXPECT_EQ(file_content(root() + "/index/data.mdb"), index);
  write_file(root() + "/FORMAT", format);
  open();
  EXPECT_EQ(*read_all(*blob(add(bytes))), bytes);
}

TEST_F(CrashTest, ANetworkFileSystemIsRefused) {
  for (const auto& [magic, name] :
       {std::pair{0x6969u, "NFS"}, {0x65735546u, "FUSE"}, {0xff534d42u, "CIFS"}}) {
    fake_file_system = magic;
    const auto opened = try_open();
    fake_file_system = 0;
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Code::unsupported);
    EXPECT_NE(opened.error().message.find(name), std::string::npos) << opened.error().message;
    EXPECT_FALSE(fs::exists(root()));
  }
  fake_file_system = 0x01021994;  // tmpfs
  EXPECT_TRUE(try_open());
  fake_file_system = 0;
}

}  // namespace
}  // namespace hffs::test
