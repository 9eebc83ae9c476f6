// SPDX-License-Identifier: Apache-2.0
//
// Verified blobs hashed again: every wrong byte is found, none is read after that, and what is right
// stays as it is.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_fixture.h"
#include "scrubber.h"
#include "sizes.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

void flip_bit(const std::string& path, std::uint64_t at) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0) << path;
  std::byte byte{};
  EXPECT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(at)), 1);
  byte ^= std::byte{1} << (at % 8);
  EXPECT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at)), 1);
  ::close(fd);
}

class ScrubTest : public FaultTest {
 protected:
  struct Put {
    std::uint64_t number = 0;
    Bytes bytes;
    BlobId id;
  };
  Put put(std::uint64_t seed, std::uint64_t size, BlobId::Kind kind = BlobId::Kind::sha256) {
    Put made{0, content(seed, size), id_of(content(seed, size), kind)};
    made.number = add(made.bytes, kind);
    fill_and_verify(made.number, made.bytes);
    return made;
  }
  std::vector<Finding> verify(std::optional<std::vector<std::uint64_t>> blobs = {}) {
    const auto work = store_->scrub().verify(std::move(blobs));
    while (!work->result()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto progress = work->progress();
    EXPECT_EQ(progress.files_done, progress.files);
    EXPECT_EQ(progress.bytes_done, progress.bytes);
    return *work->result();
  }
  static bool eventually(const std::function<bool()>& check) {
    for (int i = 0; i < 2'000 && !check(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return check();
  }
  std::uint64_t used() const { return store_->bounds().state().used; }
  void set_due(std::int64_t due) {
    ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
      store_->write(
          [&](WriteTxn& txn) {
            ScrubRow row = ScrubRow::load(txn);
            row.due = due;
            row.store(txn);
          },
          std::move(done));
    }));
  }
};

TEST_F(ScrubTest, EveryFlippedBitIsFoundAndIsNotReadAgain) {
  open();
  std::vector<Put> all;
  for (std::uint64_t i = 0; i < 24; ++i)
    all.push_back(put(i, i % 3 == 0 ? 1 + i : kMiB * (i % 4) + 77 * i + 1,
                      i % 2 == 0 ? BlobId::Kind::sha256 : BlobId::Kind::git_sha1));
  EXPECT_TRUE(verify().empty());
  for (std::size_t i = 0; i < all.size(); ++i)
    flip_bit(verified_file(all[i].id), (i * 7919) % all[i].bytes.size());
  const auto findings = verify();
  ASSERT_EQ(findings.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Put& each = all[i];
    EXPECT_EQ(findings[i].blob.number, each.number);
    EXPECT_EQ(findings[i].what, Finding::What::wrong_bytes);
    Bytes wrong = each.bytes;
    wrong[(i * 7919) % wrong.size()] ^= std::byte{1} << ((i * 7919) % wrong.size() % 8);
    EXPECT_EQ(findings[i].found, id_of(wrong, each.id.kind()).hex());
    EXPECT_FALSE(fs::exists(verified_file(each.id)));
    EXPECT_EQ(store_->blob(each.number)->bytes_here, 0u);
    const auto event = heard_->wait(each.number, 3);
    ASSERT_TRUE(event);
    EXPECT_TRUE(event->lost);  // what was right when it came is not its origin's fault
    const auto next = blob(each.number);
    EXPECT_EQ(next->identity().incarnation, 3u);
    EXPECT_FALSE(next->readable({0, 1}));
  }
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(metrics_.value(Metric::blobs_quarantined), 24);
  EXPECT_EQ(store_->scrub().state().recent.size(), 20u);
  EXPECT_TRUE(verify().empty());
  for (const Put& each : all) {
    fill_and_verify(each.number, each.bytes);
    EXPECT_EQ(*read_all(*blob(each.number)), each.bytes);
  }
  EXPECT_TRUE(verify().empty());
}

TEST_F(ScrubTest, WhoHasItOpenGetsNothingMoreOfIt) {
  open();
  const Put one = put(1, 2 * kMiB + 5), other = put(2, 100);
  const auto held = blob(one.number);
  flip_bit(verified_file(one.id), kMiB);
  ASSERT_EQ(verify({{one.number}}).size(), 1u);
  EXPECT_TRUE(held->superseded());
  EXPECT_FALSE(held->readable({0, 1}));
  EXPECT_FALSE(held->whole());
  EXPECT_EQ(held->missing({0, one.bytes.size()}), (std::vector<BlockRun>{{0, 3}}));
  EXPECT_FALSE(read_all(*held));
  EXPECT_EQ(file_content(root() + fmt::format("/quarantine/{}-{}-2", one.id.hex(), one.number)).size(),
            one.bytes.size());
  EXPECT_EQ(*read_all(*blob(other.number)), other.bytes);
}

TEST_F(ScrubTest, WhoFilledItAndHasItOpenGetsNothingMoreOfIt) {
  open();
  for (const bool opened_since : {false, true}) {
    const Bytes bytes = content(opened_since ? 2 : 1, kMiB + 5);
    const std::uint64_t number = add(bytes);
    const auto filled = blob(number);
    fill_and_verify(number, bytes);
    const auto verified = opened_since ? blob(number) : nullptr;
    EXPECT_EQ(*read_all(*filled), bytes);
    flip_bit(verified_file(id_of(bytes, BlobId::Kind::sha256)), 99);
    ASSERT_EQ(verify({{number}}).size(), 1u);
    EXPECT_TRUE(filled->superseded());
    EXPECT_FALSE(filled->whole());
    EXPECT_FALSE(read_all(*filled));
    EXPECT_EQ(used(), 0u);
  }
}

TEST_F(ScrubTest, AFileThatIsGoneOrCutShortIsFound) {
  open();
  const Put gone = put(1, kMiB), cut = put(2, 2 * kMiB);
  fs::remove(verified_file(gone.id));
  fs::resize_file(verified_file(cut.id), kMiB);
  const auto findings = verify();
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].what, Finding::What::missing);
  EXPECT_EQ(findings[1].what, Finding::What::wrong_bytes);
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(metrics_.value(Metric::blobs_lost), 1);
  for (const Put* each : {&gone, &cut}) {
    fill_and_verify(each->number, each->bytes);
    EXPECT_EQ(*read_all(*blob(each->number)), each->bytes);
  }
}

TEST_F(ScrubTest, WhatCannotBeReadStaysAsItIs) {
  open();
  const Put one = put(1, kMiB);
  fail_always(Op::read, Code::io);
  const auto findings = verify();
  heal();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].what, Finding::What::unreadable);
  EXPECT_EQ(*read_all(*blob(one.number)), one.bytes);
  EXPECT_EQ(blob(one.number)->identity().incarnation, 2u);
}

TEST_F(ScrubTest, ItIsGoneForGoodBeforeTheIndexForgetsIt) {
  open();
  const Put one = put(1, kMiB);
  flip_bit(verified_file(one.id), 9);
  fail_always(Op::sync_directory, Code::io);
  ASSERT_EQ(verify().size(), 1u);
  // Else a file that came back would be taken over as a right one.
  EXPECT_TRUE(row_of(*store_, one.number)->verified);
  EXPECT_FALSE(blob(one.number)->readable({0, 1}));
  EXPECT_TRUE(row_of(*store_, one.number)->verified);
  heal();
  ASSERT_TRUE(heard_->wait(one.number, 3));
  EXPECT_FALSE(row_of(*store_, one.number)->verified);
  EXPECT_EQ(metrics_.value(Metric::blobs_lost), 0);
  EXPECT_EQ(used(), 0u);
  fill_and_verify(one.number, one.bytes);
}

TEST_F(ScrubTest, WhatCannotBePutAsideIsFoundAgain) {
  std::atomic<bool> read_only{false};
  hook_ = [&](Op op) -> Result<void> {
    if (!read_only || (op != Op::rename && op != Op::remove)) return {};
    return fail(Code::io, "the disk is read-only");
  };
  open();
  const Put one = put(1, kMiB);
  flip_bit(verified_file(one.id), 9);
  read_only = true;
  const auto findings = verify();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_NE(findings[0].reason.find("read-only"), std::string::npos) << findings[0].reason;
  EXPECT_TRUE(row_of(*store_, one.number)->verified);
  EXPECT_TRUE(read_all(*blob(one.number)));
  EXPECT_EQ(used(), kMiB);
  read_only = false;
  EXPECT_EQ(verify().size(), 1u);
  EXPECT_EQ(used(), 0u);
  fill_and_verify(one.number, one.bytes);
  close();  // while there still is a hook
}

TEST_F(ScrubTest, TheFileOfAnOpenBlobIsGone) {
  open();
  const Put one = put(1, kMiB);
  const auto held = blob(one.number);
  fs::remove(verified_file(one.id));
  const auto findings = verify();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].what, Finding::What::missing);
  EXPECT_TRUE(held->superseded());
  EXPECT_EQ(used(), 0u);
  fill_and_verify(one.number, one.bytes);
}

// Readers, evictions, rotting files and verifications at once: what is counted in the end is what is
// there, and all of it is right or can be had again.
TEST_F(ScrubTest, AmongReadersAndEvictions) {
  constexpr std::uint64_t kBlobs = 12;
  options_.scrub.period = std::chrono::seconds(1);
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < kBlobs; ++i) {
    contents.push_back(content(i, i % 2 == 0 ? 5'000 + i : kMiB + i));
    numbers.push_back(add(contents.back()));
  }
  std::atomic<bool> done{false};
  std::atomic<int> turns{0}, found{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned reader = 0; reader < 3; ++reader)
      threads.emplace_back([&, reader] {
        std::mt19937 random(reader);
        while (!done) {
          const std::size_t i = random() % kBlobs;
          const auto opened = store_->open_blob(numbers[i]);
          ASSERT_TRUE(opened) << opened.error().message;
          (void)fill(**opened, contents[i]);
          (void)read_all(**opened);
          ++turns;
        }
      });
    threads.emplace_back([&] {
      std::mt19937 random(77);
      while (!done) {
        const std::size_t i = random() % kBlobs;
        const auto file = verified_file(id_of(contents[i], BlobId::Kind::sha256));
        if (const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC); fd >= 0) {
          const std::byte wrong = ~contents[i][i];
          EXPECT_EQ(::pwrite(fd, &wrong, 1, static_cast<off_t>(i)), 1);
          ::close(fd);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
      }
    });
    threads.emplace_back([&] {
      std::mt19937 random(78);
      while (!done) {
        (void)wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> outcome) {
          store_->bounds().evict({.blobs = {numbers[random() % kBlobs]}}, std::move(outcome));
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
    // A sanitizer on a busy machine takes its time; one that is stuck does not hold the test up for ever.
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (std::chrono::steady_clock::now() < end && (turns < 400 || found < 5))
      found += static_cast<int>(verify().size());
    done = true;
  }
  EXPECT_GE(turns, 400);
  EXPECT_GE(found, 5);
  ASSERT_TRUE(store_->flush());
  (void)verify();
  options_.scrub.period = std::chrono::seconds(0);
  std::uint64_t held = 0;
  for (const std::uint64_t number : numbers) held += store_->blob(number)->bytes_here;
  EXPECT_EQ(used(), held);
  reopen();
  EXPECT_EQ(used(), held);
  for (std::size_t i = 0; i < kBlobs; ++i) {
    const auto last = blob(numbers[i]);
    if (!last->identity().verified) fill_and_verify(numbers[i], contents[i]);
    EXPECT_EQ(*read_all(*blob(numbers[i])), contents[i]);
  }
}

TEST_F(ScrubTest, AVerificationMayBeStoppedAndTakesNoNoticeOfWhoIsOpen) {
  options_.limits.max_size = 8 * kMiB;
  open();
  const Put first = put(1, 3 * kMiB), second = put(2, 3 * kMiB);
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  (void)blob(second.number);
  EXPECT_TRUE(verify().empty());
  EXPECT_TRUE(verify({{first.number}}).empty());
  (void)store_->scrub().verify({});  // stopped at once
  put(3, 3 * kMiB);
  // It was no use of the first one: that goes.
  EXPECT_EQ(store_->blob(first.number)->bytes_here, 0u);
  EXPECT_GT(store_->blob(second.number)->bytes_here, 0u);
}

std::size_t pages_in_memory(const std::string& path) {
  const auto size = fs::file_size(path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> pages((size + 4'095) / 4'096);
  EXPECT_EQ(::mincore(memory, size, pages.data()), 0);
  ::munmap(memory, size);
  ::close(fd);
  return static_cast<std::size_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

TEST_F(ScrubTest, ThePageCacheIsLeftAsItWas) {
  open();
  const Put cold = put(1, 20 * kMiB), warm = put(2, 4 * kMiB);
  const int fd = ::open(verified_file(cold.id).c_str(), O_RDONLY | O_CLOEXEC);
  ::fsync(fd);  // dirty pages stay
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  const std::size_t before = pages_in_memory(verified_file(cold.id));
  if (before > 256) GTEST_SKIP() << "this file system keeps its pages";
  EXPECT_TRUE(verify().empty());
  EXPECT_LE(pages_in_memory(verified_file(cold.id)), before + 256);
  EXPECT_EQ(pages_in_memory(verified_file(warm.id)), warm.bytes.size() / 4'096);
}

// The page that is wrong in memory may be right on the disk.
TEST_F(ScrubTest, TheSecondLookIsAtTheDisk) {
  std::atomic<bool> wrong{false};
  std::string path;
  std::vector<std::size_t> pages;  // in memory at each open of the file
  hook_ = [&](Op op) -> Result<void> {
    if (op == Op::open && !path.empty()) pages.push_back(pages_in_memory(path));
    return {};
  };
  faulty_.after_read = [&](std::span<std::byte> bytes) {
    if (wrong.exchange(false)) bytes.front() ^= std::byte{1};
  };
  open();
  const Put one = put(1, 8 * kMiB);
  path = verified_file(one.id);
  wrong = true;
  EXPECT_TRUE(verify().empty());
  const auto seen = std::exchange(pages, {});
  path.clear();
  EXPECT_FALSE(wrong);
  EXPECT_EQ(blob(one.number)->identity().incarnation, 2u);
  EXPECT_EQ(*read_all(*blob(one.number)), one.bytes);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen.front(), one.bytes.size() / 4'096);
  if (seen.back() > 256) GTEST_SKIP() << "this file system keeps its pages";
  close();  // while there still is a hook
}

TEST_F(ScrubTest, APassFindsWhatIsWrongAndGoesOnAfterARestart) {
  open();
  const Put first = put(1, 40 * kMiB), second = put(2, 40 * kMiB);  // two steps
  options_.scrub.period = std::chrono::hours(1);
  reopen();
  ASSERT_TRUE(eventually([&] { return store_->scrub().state().done_bytes == 40 * kMiB; }));
  EXPECT_EQ(store_->scrub().state().bytes, 80 * kMiB);
  EXPECT_EQ(store_->scrub().state().ended, WallTime{});
  flip_bit(verified_file(first.id), 1);   // behind it
  flip_bit(verified_file(second.id), 2);  // before it
  options_.scrub.period = std::chrono::seconds(0);
  reopen();
  set_due(0);
  options_.scrub.period = std::chrono::hours(1);
  reopen();
  ASSERT_TRUE(eventually([&] { return store_->scrub().state().ended != WallTime{}; }));
  const auto state = store_->scrub().state();
  EXPECT_EQ(state.found, 1u);
  ASSERT_EQ(state.recent.size(), 1u);
  EXPECT_EQ(state.recent[0].blob.number, second.number);
  EXPECT_FALSE(store_->blob(second.number)->verified);
  EXPECT_TRUE(store_->blob(first.number)->verified);
  // The next pass.
  options_.scrub.period = std::chrono::seconds(0);
  reopen();
  set_due(0);
  options_.scrub.period = std::chrono::hours(1);
  reopen();
  ASSERT_TRUE(eventually([&] { return store_->scrub().state().found == 2; }));
  EXPECT_FALSE(store_->blob(first.number)->verified);
}

}  // namespace
}  // namespace hffs::test
