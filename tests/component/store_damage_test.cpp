// SPDX-License-Identifier: Apache-2.0
//
// What a disk, or a person, does to the files of a store: each damage is found, told and healed, and takes
// no other blob with it.
#include <fcntl.h>
#include <unistd.h>

#include "faulty_disk.h"
#include "hffs/record.h"
#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;


class DamageTest : public StoreTest {
 protected:
  void fill_some(int count) {
    for (int i = 0; i < count; ++i) {
      contents_.push_back(content(500 + static_cast<std::uint64_t>(i),
                                  i % 7 == 0 ? kOdd : 100 + static_cast<std::uint64_t>(i)));
      fill_and_verify(add(contents_.back()), contents_.back());
    }
  }
  // Every blob becomes verified without being filled again, and is right.
  void expect_all_kept() {
    for (const Bytes& bytes : contents_) {
      const std::uint64_t number = add(bytes);
      EXPECT_EQ(*read_all(*blob(number)), bytes);
      ASSERT_TRUE(eventually([&] { return store_->blob(number)->verified; })) << id_of(bytes).hex();
      EXPECT_EQ(*read_all(*blob(number)), bytes);
    }
  }
  // Reads what a reader of transfer does: fetches again what is not here any more.
  void expect_fetched_again(std::uint64_t number, const Bytes& bytes) {
    ASSERT_TRUE(eventually([&] {
      const auto opened = store_->open_blob(number);
      if (opened && !(*opened)->superseded()) (void)fill(**opened, bytes);
      return opened && (*opened)->identity().verified;
    }));
    EXPECT_EQ(*read_all(*blob(number)), bytes);
  }
  static bool eventually(const std::function<bool()>& check) {
    for (int i = 0; i < 2'000; ++i) {
      if (check()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  std::string index_file() const { return root() + "/index/data.mdb"; }
  std::string aside(int number = 1) const { return root() + fmt::format("/damaged/{}", number); }

  std::vector<Bytes> contents_;
};

// Data files

TEST_F(DamageTest, AVerifiedFileThatIsCutWhileItIsOpenIsFetchedAgain) {
  open();
  const Bytes bytes = content(1, kOdd), other = content(2, 2 * kBlockSize);
  const std::uint64_t number = add(bytes), other_number = add(other);
  fill_and_verify(number, bytes);
  fill_and_verify(other_number, other);
  const auto held = blob(number);
  fs::resize_file(verified_file(id_of(bytes)), kBlockSize + 5);
  // What is there is right; what is not ends this incarnation.
  Bytes some(100);
  ASSERT_TRUE(held->read(0, some));
  EXPECT_TRUE(is_part(some, bytes, 0));
  const auto beyond = held->read(2 * kBlockSize, some);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, Code::corrupt);
  EXPECT_TRUE(held->superseded());
  EXPECT_FALSE(held->readable({0, 1}));
  EXPECT_EQ(held->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
  const auto event = heard_->wait(number, held->identity().incarnation + 1);
  ASSERT_TRUE(event);
  EXPECT_TRUE(event->lost);
  EXPECT_FALSE(event->verified);
  expect_fetched_again(number, bytes);
  EXPECT_EQ(metrics_.value(Metric::blobs_lost), 1);
  EXPECT_EQ(metrics_.value(Metric::blobs_quarantined), 0);
  EXPECT_EQ(store_->bounds().state().used, bytes.size() + other.size());
  EXPECT_TRUE(store_->blob(other_number)->verified);
}

// Whoever filled a blob has the object from before its verdict, and the file is that of the one behind it.
TEST_F(DamageTest, AFileThatIsCutUnderWhoFilledItIsLostOnce) {
  open();
  const Bytes bytes = content(1, kOdd), other = content(2, 2 * kBlockSize);
  const std::uint64_t number = add(bytes);
  fill_and_verify(add(other), other);
  const auto filled = blob(number);
  fill_and_verify(number, bytes);
  fs::resize_file(verified_file(id_of(bytes)), kBlockSize + 5);
  Bytes some(100);
  EXPECT_EQ(filled->read(2 * kBlockSize, some).error().code, Code::corrupt);
  EXPECT_TRUE(filled->superseded());
  ASSERT_TRUE(store_->flush());  // and the verify thread has looked at it
  EXPECT_EQ(store_->bounds().state().used, bytes.size() + other.size());
  expect_fetched_again(number, bytes);
  EXPECT_EQ(metrics_.value(Metric::blobs_lost), 1);
  EXPECT_EQ(store_->bounds().state().used, bytes.size() + other.size());
}

TEST_F(DamageTest, AFillingFileThatIsCutWhileItIsOpenIsFetchedAgain) {
  open();
  const Bytes bytes = content(3, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {1, 2}, bytes));
  fs::resize_file(root() + fmt::format("/filling/{}", number), kBlockSize + 5);
  Bytes some(100);
  EXPECT_EQ(filling->read(2 * kBlockSize, some).error().code, Code::corrupt);
  EXPECT_TRUE(filling->superseded());
  EXPECT_FALSE(write_blocks(*filling, {0, 1}, bytes));
  expect_fetched_again(number, bytes);
  EXPECT_EQ(store_->bounds().state().used, bytes.size());
}

TEST_F(DamageTest, AFillingFileThatIsRemovedWhileItIsOpenIsFetchedAgain) {
  open();
  const Bytes bytes = content(4, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {1, 2}, bytes));
  fs::remove(root() + fmt::format("/filling/{}", number));
  Bytes some(100);
  ASSERT_TRUE(filling->read(2 * kBlockSize, some));  // as long as somebody has it open
  EXPECT_TRUE(is_part(some, bytes, 2 * kBlockSize));
  ASSERT_TRUE(fill(*filling, bytes));
  ASSERT_TRUE(heard_->wait(number, 2)) << "it is tried again for ever";
  expect_fetched_again(number, bytes);
}

// Before anybody asks: what is said to be here is.
TEST_F(DamageTest, AStartLooksWhetherTheFilesAreThere) {
  open();
  fill_some(20);
  const std::uint64_t gone = add(contents_[3]), cut = add(contents_[7]);
  const Bytes half = content(5, kOdd);
  const std::uint64_t half_number = add(half);
  ASSERT_TRUE(write_blocks(*blob(half_number), {1, 1}, half));
  close();
  fs::remove(verified_file(id_of(contents_[3])));
  fs::resize_file(verified_file(id_of(contents_[7])), 10);
  fs::remove(root() + fmt::format("/filling/{}", half_number));
  open();
  EXPECT_TRUE(eventually([&] { return metrics_.value(Metric::blobs_lost) == 3; }));
  EXPECT_TRUE(eventually([&] {
    return !store_->blob(gone)->verified && !store_->blob(cut)->verified &&
           store_->usage().verified_blobs == 18 && row_of(*store_, half_number)->claimed.empty();
  }));
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < contents_.size(); ++i)
    if (i != 3 && i != 7) bytes += contents_[i].size();
  EXPECT_EQ(store_->bounds().state().used, bytes);
  expect_fetched_again(gone, contents_[3]);
  expect_fetched_again(cut, contents_[7]);
}

// The index

TEST_F(DamageTest, ALostIndexIsBegunAnewFromTheFilesOfBlobs) {
  for (const std::string how : {"gone", "empty", "cut", "noise"}) {
    SCOPED_TRACE(how);
    fs::remove_all(root());
    contents_.clear();
    heard_ = std::make_unique<Heard>();
    open();
    fill_some(15);
    const auto overlay = store_->directory("overlay");
    write_file(*overlay + "/0000000100000001", content(9, 50));
    close();
    const auto before = file_content(index_file());
    if (how == "gone") fs::remove_all(root() + "/index");
    if (how == "empty") fs::resize_file(index_file(), 0);
    if (how == "cut") fs::resize_file(index_file(), before.size() / 2);
    if (how == "noise") write_file(index_file(), content(3, 40'960));
    open();
    ASSERT_EQ(store_->damages().size(), 1u);
    EXPECT_NE(store_->damages()[0].find("the index was put aside"), std::string::npos);
    EXPECT_NE(store_->damages()[0].find("what users wrote"), std::string::npos);
    // Nothing is removed.
    EXPECT_EQ(file_content(aside() + "/overlay/0000000100000001"), content(9, 50));
    EXPECT_EQ(fs::exists(aside() + "/index/data.mdb"), how != "gone");
    std::uint64_t bytes = 0;
    for (const Bytes& each : contents_) bytes += each.size();
    EXPECT_EQ(store_->bounds().state().used, bytes);
    expect_all_kept();
    EXPECT_EQ(store_->bounds().state().used, bytes);
    EXPECT_EQ(store_->usage().verified_blobs, contents_.size());
    reopen();
    EXPECT_EQ(store_->damages().size(), 1u) << "told until somebody has removed it";
    expect_all_kept();
  }
}

TEST_F(DamageTest, ANewStoreHasLostNothing) {
  open();
  EXPECT_TRUE(store_->damages().empty());
  close();
  fs::remove_all(root() + "/index");  // nothing was in it
  open();
  EXPECT_TRUE(store_->damages().empty());
}

TEST_F(DamageTest, AFileInBlobsIsBelievedWhenItHasBeenHashedAgain) {
  open();
  fill_some(3);
  close();
  fs::remove_all(root() + "/index");
  Bytes wrong = contents_[0];
  wrong[kBlockSize] ^= std::byte{1};
  write_file(verified_file(id_of(contents_[0])), wrong);
  heard_ = std::make_unique<Heard>();
  open();
  const std::uint64_t number = add(contents_[0]);
  const auto event = heard_->wait(number, 2);
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->verified);
  EXPECT_EQ(metrics_.value(Metric::blobs_quarantined), 1);
  EXPECT_FALSE(fs::exists(verified_file(id_of(contents_[0]))));
  expect_fetched_again(number, contents_[0]);
  expect_all_kept();
}

// A found file counts, and goes, like every other.
TEST_F(DamageTest, WhatWasFoundMakesRoomToo) {
  open();
  const Bytes first = content(21, 3 * kBlockSize), second = content(22, 3 * kBlockSize);
  fill_and_verify(add(first), first);
  close();
  fs::remove_all(root() + "/index");
  options_.limits.max_size = 4 * kBlockSize;
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  EXPECT_EQ(store_->bounds().state().used, first.size());
  expect_fetched_again(add(second), second);
  EXPECT_FALSE(fs::exists(verified_file(id_of(first))));
  EXPECT_EQ(store_->bounds().state().used, second.size());
}

// Wherever it is stopped, the next start does it again, and nothing is removed.
TEST_F(DamageTest, AStopWhileItIsPutAsideLosesNothing) {
  const Bytes own = content(9, 50);
  open();
  fill_some(5);
  write_file(*store_->directory("overlay") + "/0000000100000001", own);
  close();
  fs::resize_file(index_file(), fs::file_size(index_file()) / 2);
  const fs::path whole = directory_.path() + "/whole";
  fs::copy(root(), whole, fs::copy_options::recursive);
  int reached = 0;
  for (bool hit = true; hit && reached < 60; ++reached) {
    SCOPED_TRACE(fmt::format("call {} fails", reached));
    fs::remove_all(root());
    fs::copy(whole, root(), fs::copy_options::recursive);
    heard_ = std::make_unique<Heard>();
    int left = reached;
    hit = false;
    FaultyDisk faulty([&](Op op, const std::string&) -> Result<void> {
      if (op == Op::read || hit || left-- > 0) return {};
      hit = true;
      return fail(Code::io, "{} fails here", name_of(op));
    });
    disk_ = &faulty;
    const auto opened = try_open();
    close();
    disk_ = &system_disk();
    open();
    expect_all_kept();
    EXPECT_FALSE(store_->damages().empty());
    bool found = false;
    for (const auto& each : fs::recursive_directory_iterator(root()))
      found = found || (each.is_regular_file() && file_content(each.path()) == own);
    EXPECT_TRUE(found) << "what a user wrote is gone";
    close();
    if (opened && reached > 25) break;
  }
  EXPECT_GT(reached, 10);
}

// Every number that was given stays given, and pins stay.
TEST_F(DamageTest, WhatStandsByItselfIsCarriedOver) {
  open();
  fill_some(2);
  const std::uint64_t last = add(content(30, 10));
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) {
          txn.put(Table::pins, "models--acme--tiny", RecordWriter(1).i64(1));
          for (int i = 0; i < 400; ++i)
            txn.put(Table::entries, KeyWriter().u32(static_cast<std::uint32_t>(i)),
                    std::string(300, 'e'));
        },
        std::move(done));
  }));
  close();
  // A leaf page of `entries` becomes noise: a page (LMDB's, 4 KiB) whose first row has their value. Behind
  // their rows pages hold whatever was in memory.
  Bytes index = file_content(index_file());
  int broken = 0;
  for (std::size_t page = 2 * 4'096; page + 4'096 <= index.size(); page += 4'096) {
    const std::string_view text(reinterpret_cast<const char*>(&index[page]), 4'096);
    const auto u16 = [&](std::size_t at) {
      std::uint16_t value = 0;
      std::memcpy(&value, text.data() + at, sizeof(value));
      return std::size_t{value};
    };
    constexpr std::size_t kFlags = 10, kFirst = 16, kLeaf = 2;
    const std::size_t row = u16(kFirst);
    if (u16(kFlags) != kLeaf || row < kFirst || row + 8 + 4 + 300 > text.size()) continue;
    if (text.substr(row + 8 + u16(row + 6), 300) != std::string(300, 'e')) continue;
    std::fill_n(index.begin() + static_cast<std::ptrdiff_t>(page), 4'096, std::byte{0x41});
    ++broken;
  }
  ASSERT_GT(broken, 0);
  write_file(index_file(), index);
  open();
  ASSERT_EQ(store_->damages().size(), 1u);
  EXPECT_NE(store_->damages()[0].find("entries"), std::string::npos) << store_->damages()[0];
  store_->read([](const ReadTxn& txn) {
    EXPECT_TRUE(txn.get(Table::pins, "models--acme--tiny"));
    EXPECT_FALSE(txn.get(Table::entries, KeyWriter().u32(3)));
  });
  EXPECT_GT(add(content(31, 10)), last);
  expect_all_kept();
}

// LMDB writes to where it lies what says that it was copied already: into a map that may only be read.
TEST_F(DamageTest, APageThatSaysItWasCopiedIsDamage) {
  open();
  fill_some(30);
  close();
  const fs::path whole = directory_.path() + "/whole";
  fs::copy(root(), whole, fs::copy_options::recursive);
  const Bytes index = file_content(index_file());
  std::size_t pages = 0;
  for (std::size_t at = 2 * 4'096; at < index.size() && !HasFailure(); at += 4'096) {
    constexpr std::size_t kFlagsAt = 10;
    constexpr std::byte kLeaf{0x02}, kCopied{0x10};
    if (index[at + kFlagsAt] != kLeaf || index[at + kFlagsAt + 1] != std::byte{0}) continue;
    SCOPED_TRACE(fmt::format("page {}", at / 4'096));
    fs::remove_all(root());
    fs::copy(whole, root(), fs::copy_options::recursive);
    heard_ = std::make_unique<Heard>();
    Bytes damaged = index;
    damaged[at + kFlagsAt] |= kCopied;
    write_file(index_file(), damaged);
    const auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
    expect_all_kept();
    const Bytes more = content(9'000 + pages, 100);
    fill_and_verify(add(more), more);
    close();
    ++pages;
  }
  EXPECT_GT(pages, 5u);
}

// Wherever the damage is, the store opens, and what it shows is right. An index that was not put aside was
// not hit where it counts.
TEST_F(DamageTest, NoiseAnywhereInTheIndexIsSurvived) {
  open();
  fill_some(30);
  for (int batch = 0; batch < 10; ++batch)
    ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
      store_->write(
          [&](WriteTxn& txn) {
            for (int i = 0; i < 100; ++i)
              txn.put(Table::entries, KeyWriter().u32(static_cast<std::uint32_t>(batch * 1'000 + i)),
                      std::string(static_cast<std::size_t>(50 + i), 'e'));
          },
          std::move(done));
    }));
  close();
  const fs::path whole = directory_.path() + "/whole";
  fs::copy(root(), whole, fs::copy_options::recursive);
  const Bytes index = file_content(index_file());
  const std::size_t pages = index.size() / 4'096;
  std::mt19937 random(4);
  // LMDB, which reads the noise, is not instrumented.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr std::size_t step = 19;
#else
  constexpr std::size_t step = 1;
#endif
  std::size_t put_aside = 0, rounds = 0;
  for (std::size_t round = 0; round < pages * 2 && !HasFailure(); round += step, ++rounds) {
    SCOPED_TRACE(fmt::format("page {} of {}, round {}", round % pages, pages, round));
    fs::remove_all(root());
    fs::copy(whole, root(), fs::copy_options::recursive);
    heard_ = std::make_unique<Heard>();
    Bytes damaged = index;
    const std::size_t at = round % pages * 4'096;
    if (round < pages)
      for (std::size_t i = at; i < at + 4'096; ++i) damaged[i] = static_cast<std::byte>(random());
    else
      std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), 4'096, std::byte{0});
    write_file(index_file(), damaged);
    const auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
    put_aside += store_->damages().size();
    expect_all_kept();
    close();
  }
  EXPECT_GT(put_aside, rounds / 4);
  RecordProperty("put_aside", static_cast<int>(put_aside));
  RecordProperty("rounds", static_cast<int>(rounds));
}

}  // namespace
}  // namespace hffs::test
