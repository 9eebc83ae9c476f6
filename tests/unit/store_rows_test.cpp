// SPDX-License-Identifier: Apache-2.0
//
// The rows of blobs, byte for byte, and the directory's own rules.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "blob_rows.h"
#include "environment.h"
#include "hffs/record.h"
#include "state_dir.h"
#include "temporary.h"

namespace hffs {
namespace {

const BlobId kGit = *BlobId::parse(std::string(40, 'a'));
const BlobId kSha = *BlobId::parse(std::string(64, 'b'));

using test::TemporaryDirectory;

BlobRow row_with(std::uint64_t size, std::initializer_list<BlockIndex> claimed) {
  BlobRow row{kGit, size, 7, false, {}};
  for (const BlockIndex block : claimed) row.claimed.set(block);
  return row;
}

TEST(BlobRow, BytesOnDisk) {
  const std::string bytes = encode(row_with(3 * kBlockSize, {0, 2}));
  const std::string expected = std::string("\x01\x00\x07\0\0\0\0\0\x30\0\0\0\0\0", 14) +
                               std::string("\x28\0\0\0", 4) + kGit.hex() +
                               std::string("\x01\0\0\0\x05", 5);
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(blob_key(0x0102), std::string("\0\0\0\0\0\0\x01\x02", 8));
  EXPECT_EQ(blob_name_key(kSha, 1), kSha.hex() + std::string("\0\0\0\0\0\0\0\x01", 8));
}

TEST(BlobRow, DecodesWhatItEncoded) {
  const BlobRow row = row_with(9 * kBlockSize + 1, {1, 9});
  const auto back = decode_blob(encode(row));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->id, row.id);
  EXPECT_EQ(back->size, row.size);
  EXPECT_EQ(back->incarnation, 7u);
  EXPECT_FALSE(back->verified);
  EXPECT_TRUE(back->claimed == row.claimed);
  EXPECT_EQ(back->bytes_here(), kBlockSize + 1);
  const auto verified = decode_blob(encode(BlobRow{kSha, 5, 2, true, {}}));
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->verified);
  EXPECT_EQ(verified->bytes_here(), 5u);
}

TEST(BlobRow, RefusesDamage) {
  const std::string good = encode(row_with(3 * kBlockSize, {0, 2}));
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_blob(good.substr(0, size))) << size;
  EXPECT_FALSE(decode_blob(good + "x"));
  const auto changed = [&](std::size_t at, char to) {
    std::string bad = good;
    bad[at] = to;
    return decode_blob(bad);
  };
  EXPECT_FALSE(changed(0, 2));                   // version
  EXPECT_FALSE(changed(1, 2));                   // state
  EXPECT_FALSE(changed(18, 'Z'));                // hash
  EXPECT_FALSE(changed(good.size() - 1, 0x0f));  // a block behind the end
  EXPECT_TRUE(changed(good.size() - 1, 0x07));
}

TEST(BlobRow, AMadeUpSizeClaimsNothing) {
  BlobRow row{kGit, ~std::uint64_t{0}, 1, false, {}};
  EXPECT_TRUE(decode_blob(encode(row)));
  row.claimed.set(0);
  EXPECT_FALSE(decode_blob(encode(row)));
}

class RowsTest : public testing::Test {
 protected:
  RowsTest() {
    auto opened = Environment::open(directory_.path(), std::uint64_t{16} << 20);
    EXPECT_TRUE(opened) << opened.error().message;
    environment_ = std::move(*opened);
  }
  template <class Body>
  Result<void> commit(Body body) {
    IndexTxn txn(*environment_);
    body(txn);
    auto committed = txn.commit();
    delta_ = txn.delta;
    return committed;
  }
  std::optional<BlobRow> row(std::uint64_t number) {
    std::optional<BlobRow> found;
    environment_->read([&](const ReadTxn& txn) { found = load_blob_row(txn, number); });
    return found;
  }
  std::uint64_t add(const BlobId& id, std::uint64_t size) {
    std::uint64_t number = 0;
    EXPECT_TRUE(commit([&](WriteTxn& txn) { number = add_blob_row(txn, id, size); }));
    return number;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Environment> environment_;
  UsageDelta delta_;
};

TEST_F(RowsTest, OneNumberForOneIdAndSize) {
  const std::uint64_t first = add(kGit, 10);
  EXPECT_EQ(delta_.blobs, 1);
  EXPECT_EQ(add(kGit, 10), first);
  EXPECT_EQ(delta_.blobs, 0);
  EXPECT_NE(add(kGit, 11), first);
  EXPECT_NE(add(kSha, 10), first);
}

TEST_F(RowsTest, TheBlobOfNothingIsVerifiedFromBirth) {
  const auto nothing = *BlobId::parse("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_TRUE(row(add(nothing, 0))->verified);
  EXPECT_FALSE(row(add(nothing, 1))->verified);
  EXPECT_FALSE(row(add(kSha, 0))->verified);
  const auto sha =
      *BlobId::parse("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(row(add(sha, 0))->verified);
}

TEST_F(RowsTest, ChangesApplyToTheirIncarnationOnly) {
  const std::uint64_t number = add(kGit, 2 * kBlockSize);
  Bitmap first;
  first.set(0);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { claim_blocks(txn, number, 1, first); }));
  EXPECT_EQ(delta_.bytes, static_cast<std::int64_t>(kBlockSize));
  EXPECT_EQ(delta_.claimed_blocks, 1);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { claim_blocks(txn, number, 2, first); }));
  EXPECT_EQ(row(number)->claimed.count(), 1u);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { drop_claims(txn, number, 2); }));
  EXPECT_EQ(row(number)->claimed.count(), 1u);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { begin_incarnation(txn, number, 1, true); }));
  EXPECT_EQ(row(number)->incarnation, 2u);
  EXPECT_TRUE(row(number)->verified);
  EXPECT_EQ(delta_.bytes, static_cast<std::int64_t>(kBlockSize));
  ASSERT_TRUE(commit([&](WriteTxn& txn) {
    claim_blocks(txn, number, 2, first);
    begin_incarnation(txn, number, 1, false);
  }));
  EXPECT_TRUE(row(number)->verified);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { begin_incarnation(txn, number, 2, false); }));
  EXPECT_EQ(row(number)->bytes_here(), 0u);
  EXPECT_EQ(delta_.bytes, -2 * static_cast<std::int64_t>(kBlockSize));
}

TEST_F(RowsTest, ARowThatIsLostGetsANewNumber) {
  const std::uint64_t number = add(kGit, 10);
  ASSERT_TRUE(commit([&](WriteTxn& txn) { txn.put(Table::blobs, blob_key(number), "garbage"); }));
  EXPECT_FALSE(row(number));
  const std::uint64_t next = add(kGit, 10);
  EXPECT_GT(next, number);
  EXPECT_EQ(add(kGit, 10), next);
}

TEST_F(RowsTest, SequencesNeverGoBack) {
  std::uint64_t number = 0;
  ASSERT_TRUE(commit([&](WriteTxn& txn) { number = txn.next_number("x"); }));
  EXPECT_EQ(number, 1u);
  ASSERT_TRUE(commit([&](WriteTxn& txn) {
    EXPECT_EQ(txn.next_number("x"), 2u);
    EXPECT_EQ(txn.next_number("y"), 1u);
    EXPECT_EQ(txn.next_number("x"), 3u);
  }));
  ASSERT_TRUE(commit([&](WriteTxn& txn) { txn.put(Table::meta, "sequence/x", "?"); }));
  const auto damaged = commit([&](WriteTxn& txn) { txn.next_number("x"); });
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::corrupt);
}

TEST_F(RowsTest, ScansByPrefixFromAPlaceAndSurvivesItsOwnChanges) {
  ASSERT_TRUE(commit([&](WriteTxn& txn) {
    for (const char* key : {"a1", "a2", "a3", "b1"}) txn.put(Table::repos, key, key);
  }));
  const auto keys = [&](std::string_view prefix, std::string_view from) {
    std::string found;
    environment_->read([&](const ReadTxn& txn) {
      txn.scan(Table::repos, prefix, from, [&](std::string_view key, std::string_view) {
        found += fmt::format("{} ", key);
        return true;
      });
    });
    return found;
  };
  EXPECT_EQ(keys("", ""), "a1 a2 a3 b1 ");
  EXPECT_EQ(keys("a", ""), "a1 a2 a3 ");
  EXPECT_EQ(keys("a", "a2"), "a2 a3 ");
  EXPECT_EQ(keys("c", ""), "");
  std::string visited;
  ASSERT_TRUE(commit([&](WriteTxn& txn) {
    txn.scan(Table::repos, "a", "", [&](std::string_view key, std::string_view value) {
      visited += fmt::format("{}={} ", key, value);
      txn.erase(Table::repos, key);
      txn.put(Table::repos, std::string("z") + std::string(key), value);
      return true;
    });
  }));
  EXPECT_EQ(visited, "a1=a1 a2=a2 a3=a3 ");
  EXPECT_EQ(keys("", ""), "b1 za1 za2 za3 ");
}

TEST_F(RowsTest, AKeyThatLmdbRefusesFailsTheCommit) {
  const auto failed = commit([](WriteTxn& txn) {
    txn.put(Table::repos, "good", "1");
    txn.put(Table::repos, std::string(600, 'k'), "1");
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::invalid);
  environment_->read([](const ReadTxn& txn) {
    EXPECT_FALSE(txn.get(Table::repos, "good"));
    EXPECT_FALSE(txn.get(Table::repos, std::string(600, 'k')));
  });
}

TEST(Format, OursIsReadAndOthersAreNamed) {
  EXPECT_EQ(format_text(), "hffs-store\nversion 1\nblock 1048576\n");
  EXPECT_TRUE(check_format(format_text(), "/x/FORMAT"));
  const auto newer = check_format("hffs-store\nversion 2\nblock 1048576\n", "/x/FORMAT");
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::unsupported);
  EXPECT_NE(newer.error().message.find("version 2"), std::string::npos) << newer.error().message;
  for (const char* text : {"", "hffs-store\nversion 1\nblock 4096\n", "something else"}) {
    const auto checked = check_format(text, "/x/FORMAT");
    ASSERT_FALSE(checked) << text;
    EXPECT_EQ(checked.error().code, Code::unsupported);
    EXPECT_NE(checked.error().message.find("/x/FORMAT"), std::string::npos);
  }
}

TEST(FileSystems, NetworkOnesAreKnownAndLocalOnesAreNot) {
  EXPECT_EQ(network_file_system(0x6969), "NFS");
  EXPECT_EQ(network_file_system(0xff534d42), "CIFS");
  EXPECT_EQ(network_file_system(0x65735546), "FUSE");
  EXPECT_EQ(network_file_system(0x0bd00bd0), "Lustre");
  // ext4, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs
  for (const std::uint64_t local :
       {0xef53u, 0x58465342u, 0x9123683eu, 0x01021994u, 0x794c7630u, 0x2fc12fc1u, 0xf2f52010u})
    EXPECT_EQ(network_file_system(local), "") << local;
}

TEST(StateDir, MakesItsPartsAndNamesThem) {
  TemporaryDirectory parent;
  const auto opened = StateDir::open(parent.path() + "/deep/er", system_disk());
  ASSERT_TRUE(opened) << opened.error().message;
  const std::string root = parent.path() + "/deep/er/hffs-v1";
  EXPECT_EQ(opened->root(), root);
  for (const char* name : {"index", "filling", "blobs", "quarantine"}) {
    EXPECT_TRUE(std::filesystem::is_directory(root + "/" + name)) << name;
    EXPECT_EQ(std::filesystem::status(root + "/" + name).permissions(),
              std::filesystem::perms::owner_all);
    EXPECT_FALSE(opened->for_others(name)) << name;
  }
  EXPECT_EQ(opened->filling(12), root + "/filling/12");
  EXPECT_EQ(opened->blob(kSha), root + "/blobs/bb/" + kSha.hex());
  EXPECT_EQ(opened->quarantine(kGit, 3, 4), root + "/quarantine/" + kGit.hex() + "-3-4");
  EXPECT_EQ(opened->for_others("overlay").value_or(""), root + "/overlay");
  for (const char* name : {"", "..", "a/b", "FORMAT", "LOCK"})
    EXPECT_FALSE(opened->for_others(name)) << name;
}

TEST(StateDir, ASecondOneIsBusyAndNamesTheFirst) {
  TemporaryDirectory parent;
  {
    const auto first = StateDir::open(parent.path(), system_disk());
    ASSERT_TRUE(first);
    const auto second = StateDir::open(parent.path(), system_disk());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::busy);
    EXPECT_NE(second.error().message.find(fmt::format("process {}", getpid())), std::string::npos);
  }
  EXPECT_TRUE(StateDir::open(parent.path(), system_disk()));
}

TEST(StateDir, TheStoreOfANewerVersionIsLeftAlone) {
  TemporaryDirectory parent;
  std::filesystem::create_directory(parent.path() + "/hffs-v2");
  const auto opened = StateDir::open(parent.path(), system_disk());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unsupported);
  EXPECT_FALSE(std::filesystem::exists(parent.path() + "/hffs-v1"));
}

// The log's directory may be there before the store.
TEST(StateDir, AnEmptyDirectoryDoesNotHideTheStoreOfANewerVersion) {
  TemporaryDirectory parent;
  std::filesystem::create_directory(parent.path() + "/hffs-v1");
  std::filesystem::create_directory(parent.path() + "/hffs-v2");
  const auto opened = StateDir::open(parent.path(), system_disk());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unsupported);
}

TEST(StateDir, AnIndexWithoutFormatIsNotTouched) {
  TemporaryDirectory parent;
  std::filesystem::create_directories(parent.path() + "/hffs-v1/index");
  std::ofstream(parent.path() + "/hffs-v1/index/data.mdb") << "?";
  const auto opened = StateDir::open(parent.path(), system_disk());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unsupported);
}

}  // namespace
}  // namespace hffs
