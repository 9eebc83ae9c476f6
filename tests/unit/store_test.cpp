// SPDX-License-Identifier: Apache-2.0
//
// The store's values: sets of blocks, and the hashes that name blobs.
#include "hffs/store.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bitmap.h"
#include "hffs/content_hash.h"

namespace hffs {
namespace {

std::span<const std::byte> bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string hash(BlobId::Kind kind, std::string_view text, std::size_t step = 1 << 20) {
  auto hash = ContentHash::start(kind, text.size());
  EXPECT_TRUE(hash);
  for (std::size_t at = 0; at < text.size(); at += step)
    EXPECT_TRUE(hash->update(bytes_of_text(text.substr(at, step))));
  return hash->finish().value_or("");
}

TEST(Bitmap, EncodesWithoutTrailingZeros) {
  Bitmap blocks;
  EXPECT_EQ(blocks.encode(), "");
  EXPECT_TRUE(blocks.empty());
  EXPECT_EQ(blocks.end(), 0u);
  blocks.set(0);
  EXPECT_EQ(blocks.encode(), std::string("\x01", 1));
  blocks.set(9);
  EXPECT_EQ(blocks.encode(), std::string("\x01\x02", 2));
  blocks.set(64);
  EXPECT_EQ(blocks.encode(), std::string("\x01\x02\0\0\0\0\0\0\x01", 9));
  EXPECT_EQ(blocks.count(), 3u);
  EXPECT_EQ(blocks.end(), 65u);
}

TEST(Bitmap, DecodesWhatItEncoded) {
  Bitmap blocks;
  for (const BlockIndex block : {0u, 7u, 8u, 63u, 64u, 127u, 1000u}) blocks.set(block);
  const auto back = Bitmap::decode(blocks.encode(), 1001);
  ASSERT_TRUE(back);
  EXPECT_TRUE(*back == blocks);
  for (BlockIndex block = 0; block < 1100; ++block)
    EXPECT_EQ(back->test(block), blocks.test(block)) << block;
}

TEST(Bitmap, RefusesBlocksBehindTheEnd) {
  Bitmap blocks;
  blocks.set(4);
  EXPECT_TRUE(Bitmap::decode(blocks.encode(), 5));
  EXPECT_FALSE(Bitmap::decode(blocks.encode(), 4));
  EXPECT_TRUE(Bitmap::decode(std::string(3, '\0'), 0));
}

TEST(Bitmap, CountsTheBytesOfAShortLastBlock) {
  const std::uint64_t size = 2 * kBlockSize + 5;
  Bitmap blocks;
  EXPECT_EQ(blocks.bytes(size), 0u);
  blocks.set(2);
  EXPECT_EQ(blocks.bytes(size), 5u);
  blocks.set(0);
  EXPECT_EQ(blocks.bytes(size), kBlockSize + 5);
  blocks.set(1);
  EXPECT_EQ(blocks.bytes(size), size);
}

TEST(Bitmap, Merges) {
  Bitmap a, b;
  a.set(3);
  b.set(70);
  a.merge(b);
  EXPECT_TRUE(a.test(3) && a.test(70));
  EXPECT_EQ(a.count(), 2u);
  EXPECT_EQ(b.count(), 1u);
}

TEST(BlockMap, RunsAcrossWords) {
  BlockMap map(200);
  EXPECT_TRUE(map.all({5, 0}));
  EXPECT_FALSE(map.all({5, 1}));
  map.set({60, 80});
  EXPECT_TRUE(map.all({60, 80}));
  EXPECT_FALSE(map.all({59, 2}));
  EXPECT_FALSE(map.all({139, 2}));
  EXPECT_TRUE(map.test(139));
  EXPECT_FALSE(map.full());
  map.set({0, 60});
  map.set({140, 60});
  EXPECT_TRUE(map.full());
  EXPECT_EQ(map.snapshot().count(), 200u);
}

TEST(BlockMap, ExactlyOneWord) {
  BlockMap map(64);
  map.set({0, 64});
  EXPECT_TRUE(map.full());
  EXPECT_EQ(map.snapshot().end(), 64u);
}

TEST(BlockMap, AssignForgets) {
  BlockMap map(130);
  map.set({0, 130});
  Bitmap some;
  some.set(1);
  map.assign(some);
  EXPECT_EQ(map.snapshot().count(), 1u);
  EXPECT_TRUE(map.test(1));
}

TEST(BlockMap, ManyThreadsSetNeighbours) {
  BlockMap map(4096);
  {
    std::vector<std::jthread> threads;
    for (BlockIndex t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (BlockIndex block = t; block < 4096; block += 4) map.set({block, 1});
      });
  }
  EXPECT_TRUE(map.full());
}

TEST(ContentHash, Sha256) {
  EXPECT_EQ(hash(BlobId::Kind::sha256, ""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash(BlobId::Kind::sha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash(BlobId::Kind::sha256, std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(ContentHash, GitBlob) {
  EXPECT_EQ(hash(BlobId::Kind::git_sha1, ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(hash(BlobId::Kind::git_sha1, "hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
}

// From `head -c SIZE /dev/zero | sha256sum` and `… | git hash-object --stdin`.
TEST(ContentHash, OneBlockAndOddSizesInAnyPortions) {
  struct Known {
    std::size_t size;
    std::string sha256, git;
  };
  const Known known[] = {
      {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
       "f76dd238ade08917e6712764a16a22005a50573d"},
      {1048575, "ca7ed0c4a8e67cbdc461c4cb0d286d2fabbd9f0c41a7f42b665f72ebaa8aec56",
       "3335d0f67a661ae872f83363e6d38afb1b320db9"},
      {1048576, "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
       "9e0f96a2a253b173cb45b41868209a5d043e1437"},
      {1048577, "2cb74edba754a81d121c9db6833704a8e7d417e5b13d1a19f4a52f007d644264",
       "4d435148d93240e4d05d1e03e5fe5b84fe9a7a47"},
      {3145735, "f395f662db5cb6d4af68e95e95bf3a780950e8855cd43c7140367d36d6b5d1a3",
       "5c2280eb4c1a2a37b74a7f5760dd19179fdcd5ee"},
  };
  for (const Known& k : known) {
    const std::string zeros(k.size, '\0');
    EXPECT_EQ(hash(BlobId::Kind::sha256, zeros), k.sha256) << k.size;
    EXPECT_EQ(hash(BlobId::Kind::git_sha1, zeros), k.git) << k.size;
    EXPECT_EQ(hash(BlobId::Kind::sha256, zeros, 4'093), k.sha256) << k.size;
  }
}

TEST(Tables, NamesAreDistinctAndTheOverlayIsKept) {
  std::set<std::string_view> names;
  for (int i = 0; i < static_cast<int>(Table::count_); ++i)
    EXPECT_TRUE(names.insert(info(static_cast<Table>(i)).name).second);
  EXPECT_EQ(info(Table::overlay).persistence, Persistence::authoritative);
  EXPECT_EQ(info(Table::meta).persistence, Persistence::authoritative);
  EXPECT_EQ(info(Table::blobs).persistence, Persistence::rebuildable);
}

}  // namespace
}  // namespace hffs
