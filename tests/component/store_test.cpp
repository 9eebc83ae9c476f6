// SPDX-License-Identifier: Apache-2.0
//
// A store on a real directory: filling, verdicts, the index, directories.
#include <atomic>

#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;


class FillTest : public StoreTest {
 protected:
  FillTest() { open(); }
};

TEST_F(FillTest, BecomesVerifiedAndMoves) {
  for (const auto kind : {BlobId::Kind::sha256, BlobId::Kind::git_sha1}) {
    const Bytes bytes = content(1, kOdd);
    const std::uint64_t number = add(bytes, kind);
    const auto filling = blob(number);
    EXPECT_EQ(filling->identity().incarnation, 1u);
    EXPECT_FALSE(filling->readable({0, 1}));
    EXPECT_EQ(filling->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
    ASSERT_TRUE(write_blocks(*filling, {0, 4}, bytes));
    EXPECT_TRUE(filling->readable({0, kOdd}));
    EXPECT_EQ(*read_all(*filling), bytes);

    const auto event = heard_->wait(number, 2);
    ASSERT_TRUE(event);
    EXPECT_TRUE(event->verified);
    EXPECT_EQ(event->incarnation, 2u);
    EXPECT_EQ(event->bytes_here, kOdd);
    EXPECT_EQ(file_content(verified_file(id_of(bytes, kind))), bytes);
    EXPECT_EQ(files_in("filling"), 0u);

    // The open one reads on, the next one is another object with the kernel's path.
    EXPECT_EQ(*read_all(*filling), bytes);
    EXPECT_TRUE(filling->missing({0, kOdd}).empty());
    const auto verified = blob(number);
    EXPECT_NE(verified, filling);
    EXPECT_EQ(verified->identity().incarnation, 2u);
    EXPECT_TRUE(verified->identity().verified);
    EXPECT_TRUE(verified_file(id_of(bytes, kind)).starts_with(store_->blob_directory() + "/"));
    EXPECT_EQ(*read_all(*verified), bytes);
    EXPECT_EQ(blob(number), verified);
  }
}

TEST_F(FillTest, OneObjectForAllWhoHaveItOpen) {
  const std::uint64_t number = add(content(1, 10));
  EXPECT_EQ(blob(number), blob(number));
}

TEST_F(FillTest, OutOfOrderWithHolesAndTwice) {
  const Bytes bytes = content(2, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {3, 1}, bytes));
  ASSERT_TRUE(write_blocks(*filling, {1, 1}, bytes));
  EXPECT_EQ(filling->missing({0, kOdd}), (std::vector<BlockRun>{{0, 1}, {2, 1}}));
  EXPECT_TRUE(filling->readable({kBlockSize, kBlockSize}));
  EXPECT_FALSE(filling->readable({kBlockSize, kBlockSize + 1}));
  Bytes part(20);
  EXPECT_EQ(*filling->read(3 * kBlockSize, part), 17u);  // clipped
  EXPECT_TRUE(is_part(std::span(part).first(17), bytes, 3 * kBlockSize));
  EXPECT_EQ(filling->read(0, part).error().code, Code::corrupt);
  EXPECT_EQ(*filling->read(kOdd, part), 0u);
  EXPECT_EQ(store_->blob(number)->bytes_here, kBlockSize + 17);
  ASSERT_TRUE(write_blocks(*filling, {1, 1}, bytes));
  ASSERT_TRUE(write_blocks(*filling, {0, 4}, bytes));  // over what is there
  EXPECT_TRUE(heard_->wait(number, 2)->verified);
}

TEST_F(FillTest, FromManyThreads) {
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < 6; ++i) {
    contents.push_back(content(10 + i, (i + 1) * kBlockSize + i));
    numbers.push_back(add(contents.back()));
  }
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < 60; ++i) {
          const std::size_t which = random() % numbers.size();
          const auto opened = store_->open_blob(numbers[which]);
          ASSERT_TRUE(opened);
          const Bytes& bytes = contents[which];
          const BlockIndex block = random() % block_count(bytes.size());
          const auto written = write_blocks(**opened, {block, 1}, bytes);
          ASSERT_TRUE(written) << written.error().message;
          ASSERT_TRUE((*opened)->readable(bytes_of(block, bytes.size())));
          Bytes back(bytes_of(block, bytes.size()).size);
          ASSERT_TRUE((*opened)->read(block * kBlockSize, back));
          ASSERT_TRUE(is_part(back, bytes, block * kBlockSize));
        }
      });
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_TRUE(fill(*blob(numbers[i]), contents[i]));
    ASSERT_TRUE(heard_->wait(numbers[i], 2));
    EXPECT_EQ(*read_all(*blob(numbers[i])), contents[i]);
  }
}

TEST_F(FillTest, WhatIsNotWholeBlocksIsRefused) {
  const Bytes bytes = content(3, kOdd);
  const auto filling = blob(add(bytes));
  const auto write = [&](BlockIndex first, std::size_t size) {
    return wait_for<void>(
        [&](Done<void> done) { filling->write(first, Bytes(size), std::move(done)); });
  };
  EXPECT_EQ(write(0, 100).error().code, Code::bug);
  EXPECT_EQ(write(3, 18).error().code, Code::bug);
  EXPECT_EQ(write(4'000, kBlockSize).error().code, Code::bug);
  EXPECT_EQ(filling->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
}

TEST_F(FillTest, WrongBytesAreQuarantinedAndFetchedAgain) {
  const Bytes right = content(4, kOdd);
  Bytes wrong = right;
  wrong[kBlockSize] ^= std::byte{1};
  const std::uint64_t number = add(right);
  const auto first = blob(number);
  ASSERT_TRUE(fill(*first, wrong));
  const auto event = heard_->wait(number, 2);
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->verified);
  EXPECT_EQ(event->bytes_here, 0u);
  EXPECT_FALSE(first->readable({0, 1}));
  EXPECT_EQ(first->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
  EXPECT_FALSE(read_all(*first));
  EXPECT_EQ(write_blocks(*first, {0, 1}, right).error().code, Code::stale);
  EXPECT_EQ(file_content(root() + fmt::format("/quarantine/{}-{}-1", id_of(right).hex(), number)),
            wrong);
  EXPECT_FALSE(fs::exists(verified_file(id_of(right))));
  EXPECT_EQ(metrics_.value(Metric::blobs_quarantined), 1);

  const auto second = blob(number);
  EXPECT_EQ(second->identity().incarnation, 2u);
  EXPECT_FALSE(second->readable({0, 1}));
  ASSERT_TRUE(fill(*second, right));
  EXPECT_TRUE(heard_->wait(number, 3)->verified);
  EXPECT_EQ(*read_all(*blob(number)), right);
}

TEST_F(FillTest, QuarantineKeepsTheNewestFew) {
  for (std::uint64_t i = 0; i < 8; ++i) {
    const Bytes right = content(100 + i, 1'000);
    const std::uint64_t number = add(right);
    ASSERT_TRUE(fill(*blob(number), content(200 + i, 1'000)));
    ASSERT_TRUE(heard_->wait(number, 2));
  }
  EXPECT_EQ(files_in("quarantine"), 4u);
}

TEST_F(FillTest, AWrongSizeForAKnownHashNeverTouchesTheRightBlob) {
  const Bytes bytes = content(5, 2 * kBlockSize);
  const std::uint64_t number = add(bytes);
  fill_and_verify(number, bytes);
  Bytes longer = bytes;
  longer.resize(longer.size() + 5);
  const std::uint64_t other = add_blob(*store_, id_of(bytes), longer.size());
  EXPECT_NE(other, number);
  ASSERT_TRUE(fill(*blob(other), longer));
  EXPECT_FALSE(heard_->wait(other, 2)->verified);
  EXPECT_EQ(*read_all(*blob(number)), bytes);
  EXPECT_TRUE(store_->blob(number)->verified);
}

TEST_F(FillTest, TheBlobOfNothing) {
  const std::uint64_t number = add({});
  const auto nothing = blob(number);
  EXPECT_TRUE(nothing->identity().verified);
  EXPECT_TRUE(nothing->readable({0, 10}));
  EXPECT_TRUE(read_all(*nothing)->empty());
  EXPECT_EQ(fs::file_size(verified_file(nothing->identity().id)), 0u);
}

TEST_F(FillTest, ABlobOfAMadeUpSizeCannotBeOpened) {
  const std::uint64_t number = add_blob(*store_, id_of(content(1, 3)), ~std::uint64_t{0});
  EXPECT_EQ(store_->open_blob(number).error().code, Code::unsupported);
  EXPECT_EQ(store_->open_blob(number + 1).error().code, Code::not_found);
  EXPECT_FALSE(store_->blob(number + 1));
}

TEST_F(FillTest, FlushClaimsAndUsageCounts) {
  const Bytes bytes = content(6, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {1, 3}, bytes));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(row_of(*store_, number)->bytes_here(), 2 * kBlockSize + 17);
  auto usage = store_->usage();
  EXPECT_EQ(usage.blobs, 1u);
  EXPECT_EQ(usage.verified_blobs, 0u);
  EXPECT_EQ(usage.bytes, 2 * kBlockSize + 17);
  EXPECT_EQ(usage.unclaimed_bytes, 0u);
  EXPECT_GT(usage.free_bytes, 0u);
  ASSERT_TRUE(fill(*filling, bytes));
  ASSERT_TRUE(heard_->wait(number, 2));
  usage = store_->usage();
  EXPECT_EQ(usage.verified_blobs, 1u);
  EXPECT_EQ(usage.bytes, kOdd);
  EXPECT_EQ(usage.unclaimed_bytes, 0u);
  reopen();
  EXPECT_EQ(store_->usage().bytes, kOdd);
  EXPECT_EQ(store_->usage().verified_blobs, 1u);
}

// The verdict of a blob that was whole when flush() looked is committed when it returns.
TEST_F(FillTest, FlushLeavesNothingUncommitted) {
  for (std::uint64_t i = 0; i < 150; ++i) {
    const Bytes bytes = content(1'000 + i, 100);
    const std::uint64_t number = add(bytes);
    const auto filling = blob(number);
    ASSERT_TRUE(fill(*filling, bytes));
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i * 10));
    ASSERT_TRUE(store_->flush());
    ASSERT_EQ(row_of(*store_, number)->bytes_here(), 100u) << i;
  }
}

TEST_F(FillTest, ClaimsComeByThemselves) {
  const Bytes bytes = content(7, kOdd);
  const std::uint64_t number = add(bytes);
  const auto filling = blob(number);
  ASSERT_TRUE(write_blocks(*filling, {2, 1}, bytes));
  for (int i = 0; i < 400 && row_of(*store_, number)->claimed.empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(row_of(*store_, number)->claimed.test(2));
  EXPECT_EQ(metrics_.value(Metric::blocks_claimed), 1);
}

TEST_F(FillTest, WritesAfterTheStoreIsGoneAreCancelled) {
  const Bytes bytes = content(8, kOdd);
  const auto filling = blob(add(bytes));
  ASSERT_TRUE(write_blocks(*filling, {0, 1}, bytes));
  close();
  EXPECT_EQ(write_blocks(*filling, {1, 1}, bytes).error().code, Code::cancelled);
  Bytes part(10);
  EXPECT_TRUE(filling->read(0, part));
}

// What the listener says is what the index says, whoever comes first.
TEST_F(FillTest, ReadsAndWritesOfTheIndexFromManyThreads) {
  std::vector<std::jthread> threads;
  std::atomic<int> committed{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string key = fmt::format("{}/{}", t, i);
        ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
          store_->write([&](WriteTxn& txn) { txn.put(Table::repos, key, "v"); }, std::move(done));
        }));
        ++committed;
        store_->read([&](const ReadTxn& txn) { ASSERT_TRUE(txn.get(Table::repos, key)); });
      }
    });
  threads.clear();
  EXPECT_EQ(committed, 200);
}

TEST_F(FillTest, OneBadWriteDoesNotTakeOthersWithIt) {
  // The first holds the index thread until the others wait together.
  std::promise<void> go;
  auto wait = go.get_future();
  store_->write(
      [&](WriteTxn&) {
        if (wait.valid()) wait.get();
      },
      [](auto) {});
  std::vector<std::future<Code>> codes;
  for (int i = 0; i < 5; ++i) {
    auto code = std::make_shared<std::promise<Code>>();
    codes.push_back(code->get_future());
    store_->write(
        [i](WriteTxn& txn) {
          txn.put(Table::repos, i == 2 ? std::string(600, 'k') : fmt::format("key{}", i), "v");
        },
        [code](Result<void> result) {
          code->set_value(result ? Code::cancelled : result.error().code);
        });
  }
  go.set_value();
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(codes[static_cast<std::size_t>(i)].get(), i == 2 ? Code::invalid : Code::cancelled);
  store_->read([](const ReadTxn& txn) {
    for (const char* key : {"key0", "key1", "key3", "key4"})
      EXPECT_TRUE(txn.get(Table::repos, key));
  });
}

TEST_F(FillTest, DirectoriesForOthers) {
  const auto overlay = store_->directory("overlay");
  ASSERT_TRUE(overlay);
  EXPECT_EQ(*overlay, root() + "/overlay");
  EXPECT_TRUE(fs::is_directory(*overlay));
  EXPECT_EQ(store_->directory("overlay").value_or(""), *overlay);
  EXPECT_EQ(store_->directory("../x").error().code, Code::invalid);
  EXPECT_EQ(store_->directory("blobs").error().code, Code::invalid);
}

}  // namespace
}  // namespace hffs::test
