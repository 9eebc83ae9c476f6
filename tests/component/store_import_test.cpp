// SPDX-License-Identifier: Apache-2.0
//
// Files that claim to be a blob, brought into a store.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;


class ImportTest : public StoreTest {
 protected:
  ImportTest() { open(); }
  Result<void> import(std::uint64_t number, const std::string& path) {
    return wait_for<void>(
        [&](Done<void> done) { store_->import_file(number, path, std::move(done)); });
  }
  std::string source() {
    auto overlay = store_->directory("overlay");
    EXPECT_TRUE(overlay);
    return *overlay + "/file";
  }
};

TEST_F(ImportTest, RightBytesAreMoved) {
  const Bytes bytes = content(20, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {0, 1}, bytes));
  write_file(source(), bytes);
  const auto imported = import(number, source());
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_FALSE(fs::exists(source()));
  EXPECT_TRUE(heard_->wait(number, 2)->verified);
  EXPECT_EQ(*read_all(*filling), bytes);  // the old object, whole now
  EXPECT_EQ(*read_all(*blob(number)), bytes);
  EXPECT_EQ(fs::status(verified_file(blob(number)->identity().id)).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(files_in("filling"), 0u);
  // Again: it is there already, the file goes.
  write_file(source(), bytes);
  EXPECT_TRUE(import(number, source()));
  EXPECT_FALSE(fs::exists(source()));
  reopen();
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

// The last block and the import come at the same time: whichever makes the blob whole, who hears that the import is
// done can rely on the index.
TEST_F(ImportTest, WhatIsSaidToBeImportedTheIndexHas) {
  for (std::uint64_t i = 0; i < 40; ++i) {
    const Bytes bytes = content(600 + i, 3'000);
    const std::uint64_t number = add(bytes);
    write_file(source(), bytes);
    const auto filling = blob(number);
    ASSERT_TRUE(write_blocks(*filling, {0, 1}, bytes));
    bool known = false;
    const auto imported = wait_for<void>([&](Done<void> done) {
      store_->import_file(number, source(), [&, done = std::move(done)](Result<void> result) mutable {
        known = row_of(*store_, number)->verified;
        done(std::move(result));
      });
    });
    ASSERT_TRUE(imported) << imported.error().message;
    ASSERT_TRUE(known) << "after " << i << " others";
  }
}

TEST_F(ImportTest, WrongBytesStay) {
  const Bytes bytes = content(21, kOdd);
  const std::uint64_t number = add(bytes);
  Bytes wrong = bytes;
  wrong.back() ^= std::byte{1};
  write_file(source(), wrong);
  EXPECT_EQ(import(number, source()).error().code, Code::corrupt);
  wrong.resize(100);
  write_file(source(), wrong);
  EXPECT_EQ(import(number, source()).error().code, Code::corrupt);
  EXPECT_TRUE(fs::exists(source()));
  EXPECT_EQ(import(number + 1, source()).error().code, Code::not_found);
  EXPECT_EQ(import(number, source() + "-absent").error().code, Code::not_found);
  EXPECT_FALSE(store_->blob(number)->verified);
  EXPECT_EQ(store_->blob(number)->incarnation, 1u);
}

TEST_F(ImportTest, WhatOthersCouldChangeIsRefused) {
  const Bytes bytes = content(22, 1'000);
  const std::uint64_t number = add(bytes);
  write_file(source(), bytes);
  fs::create_hard_link(source(), source() + "2");
  EXPECT_EQ(import(number, source()).error().code, Code::refused);
  fs::remove(source() + "2");
  fs::create_symlink("file", source() + "3");
  EXPECT_FALSE(import(number, source() + "3"));
  ASSERT_EQ(::mkfifo((source() + "4").c_str(), 0600), 0);
  EXPECT_EQ(import(number, source() + "4").error().code, Code::refused);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(source().c_str(), 65'534, 65'534), 0);
    EXPECT_EQ(import(number, source()).error().code, Code::refused);
  }
  EXPECT_FALSE(store_->blob(number)->verified);
}

TEST_F(ImportTest, ARightFileAgainstWrongBlocks) {
  for (std::uint64_t i = 0; i < 60; ++i) {
    const Bytes bytes = content(3'000 + i, 2'000), wrong = content(4'000 + i, 2'000);
    const std::uint64_t number = add(bytes);
    const auto filling = blob(number);
    write_file(source(), bytes);
    auto done = std::make_shared<std::promise<void>>();
    filling->write(0, wrong, [done](Result<void>) { done->set_value(); });
    if (i % 3 == 0) done->get_future().wait();
    const auto imported = import(number, source());
    ASSERT_TRUE(imported) << imported.error().message;
    ASSERT_TRUE(store_->flush());
    const auto row = row_of(*store_, number);
    ASSERT_TRUE(row->verified) << i;
    const auto last = heard_->wait(number, row->incarnation);
    ASSERT_TRUE(last);
    ASSERT_TRUE(last->verified);
    ASSERT_EQ(last->incarnation, row->incarnation) << i;
    ASSERT_EQ(*read_all(*blob(number)), bytes);
  }
}

TEST_F(ImportTest, ManyAtOnceWhileBlocksArrive) {
  std::vector<std::uint64_t> numbers;
  std::vector<Bytes> contents;
  std::atomic<int> imported{0};
  for (std::uint64_t i = 0; i < 40; ++i) {
    contents.push_back(content(5'000 + i, kBlockSize + i));
    numbers.push_back(add(contents.back()));
  }
  const std::string base = source();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    write_file(fmt::format("{}{}", base, i), contents[i]);
    const auto filling = blob(numbers[i]);
    filling->write(0, Bytes(contents[i].begin(), contents[i].begin() + kBlockSize), [](auto) {});
    store_->import_file(numbers[i], fmt::format("{}{}", base, i), [&](Result<void> result) {
      EXPECT_TRUE(result) << result.error().message;
      ++imported;
    });
  }
  for (const std::uint64_t number : numbers) ASSERT_TRUE(heard_->wait(number, 2));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(imported, 40);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    EXPECT_EQ(*read_all(*blob(numbers[i])), contents[i]);
}

}  // namespace
}  // namespace hffs::test
