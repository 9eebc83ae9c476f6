// SPDX-License-Identifier: Apache-2.0
//
// What a store finds when it is opened again: its own work, leftovers, and damage.
#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;


class ReopenTest : public StoreTest {
 protected:
  ReopenTest() { open(); }
};

TEST_F(ReopenTest, ClosingLosesNothing) {
  const Bytes bytes = content(9, 4 * kBlockSize);
  const std::uint64_t number = add(bytes);
  ASSERT_TRUE(write_blocks(*blob(number), {0, 3}, bytes));
  reopen();
  EXPECT_EQ(store_->blob(number)->bytes_here, 3 * kBlockSize);
  const auto filling = blob(number);
  EXPECT_EQ(filling->missing({0, bytes.size()}), (std::vector<BlockRun>{{3, 1}}));
  ASSERT_TRUE(fill(*filling, bytes));
  EXPECT_TRUE(heard_->wait(number, 2)->verified);
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

TEST_F(ReopenTest, AFullBlobWithoutVerdictIsVerifiedAfterOpening) {
  const Bytes bytes = content(11, kOdd);
  const std::uint64_t number = add(bytes);
  // As a killed process leaves it: claimed and durable, nothing decided.
  write_file(root() + fmt::format("/filling/{}", number), bytes);
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) {
          Bitmap all;
          for (BlockIndex block = 0; block < 4; ++block) all.set(block);
          claim_blocks(txn, number, 1, all);
        },
        std::move(done));
  }));
  reopen();
  for (int i = 0; i < 400 && !store_->blob(number)->verified; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(store_->blob(number)->verified);
  EXPECT_EQ(*read_all(*blob(number)), bytes);
}

TEST_F(ReopenTest, AFileThatHasItsNameAndNoVerdictIsCountedAfterAKill) {
  const Bytes bytes = content(13, kOdd), evicted = content(14, kOdd);
  const std::uint64_t number = add(bytes), other = add(evicted);
  fill_and_verify(other, evicted);
  ASSERT_TRUE(wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) {
    store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
    store_->bounds().evict({.blobs = {other}}, std::move(done));
  }));
  close();
  const std::string file = verified_file(id_of(bytes));
  fs::create_directories(fs::path(file).parent_path());
  write_file(file, bytes);
  write_file(root() + "/index/in-use", {});
  open();
  EXPECT_EQ(store_->bounds().state().used, kOdd) << "before anybody opens it";
  for (int i = 0; i < 400 && !store_->blob(number)->verified; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(store_->blob(number)->verified);
  EXPECT_EQ(store_->bounds().state().used, kOdd);
}

TEST_F(ReopenTest, LeftoversAreSweptAndClaimsKept) {
  const Bytes bytes = content(12, kOdd);
  const std::uint64_t number = add(bytes);
  ASSERT_TRUE(write_blocks(*blob(number), {0, 1}, bytes));
  ASSERT_TRUE(store_->flush());
  close();
  for (const char* name : {"999", "junk", "12x"}) write_file(root() + "/filling/" + name, bytes);
  open();
  EXPECT_EQ(files_in("filling"), 1u);
  EXPECT_TRUE(blob(number)->readable({0, kBlockSize}));
}

TEST_F(ReopenTest, AVerifiedFileThatIsGoneIsFetchedAgain) {
  const Bytes bytes = content(13, kOdd);
  const std::uint64_t number = add(bytes);
  for (const bool gone : {true, false}) {
    fill_and_verify(number, bytes);
    const std::uint32_t before = store_->blob(number)->incarnation;
    close();
    if (gone)
      fs::remove(verified_file(id_of(bytes)));
    else
      fs::resize_file(verified_file(id_of(bytes)), 100);
    open();
    const auto filling = blob(number);
    EXPECT_EQ(filling->identity().incarnation, before + 1);
    EXPECT_FALSE(filling->identity().verified);
    ASSERT_TRUE(store_->flush());  // the look at the files may have come first, before anybody listened
    EXPECT_EQ(metrics_.value(Metric::blobs_lost), gone ? 1 : 2);
    EXPECT_EQ(row_of(*store_, number)->incarnation, before + 1);
    EXPECT_EQ(filling->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
  }
}

TEST_F(ReopenTest, AFillingFileThatIsGoneOrShortClaimsNothing) {
  const Bytes bytes = content(14, kOdd);
  const std::uint64_t number = add(bytes);
  const std::string path = root() + fmt::format("/filling/{}", number);
  for (const bool gone : {true, false}) {
    ASSERT_TRUE(write_blocks(*blob(number), {1, 1}, bytes));
    close();
    if (gone)
      fs::remove(path);
    else
      fs::resize_file(path, kBlockSize + 1);
    open();
    EXPECT_EQ(blob(number)->missing({0, kOdd}), (std::vector<BlockRun>{{0, 4}}));
    ASSERT_TRUE(store_->flush());
    EXPECT_TRUE(row_of(*store_, number)->claimed.empty());
    EXPECT_EQ(store_->usage().bytes, 0u);
  }
}

TEST_F(ReopenTest, ARecordThatCannotBeDecodedIsAbsent) {
  const Bytes bytes = content(30, 100);
  const std::uint64_t number = add(bytes);
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write([&](WriteTxn& txn) { txn.put(Table::blobs, blob_key(number), "\x63?"); },
                  std::move(done));
  }));
  EXPECT_FALSE(store_->blob(number));
  EXPECT_EQ(store_->open_blob(number).error().code, Code::not_found);
  reopen();
  EXPECT_EQ(store_->open_blob(number).error().code, Code::not_found);
  const std::uint64_t next = add(bytes);
  EXPECT_GT(next, number);
  fill_and_verify(next, bytes);
}

}  // namespace
}  // namespace hffs::test
