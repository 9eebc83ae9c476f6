// SPDX-License-Identifier: Apache-2.0
//
// What is fetched ahead of which reads. Tables of reads and blocks; no thread, no network.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "burst.h"
#include "file_plan.h"
#include "shards.h"
#include "sizes.h"
#include "streams.h"

namespace hffs::prefetch {
namespace {

using test::kGiB;
using test::kMiB;

// A file of which reads are made as the kernel makes them, in pieces of `piece`.
class Reader {
 public:
  Reader(Format format, std::uint64_t size, std::uint64_t piece = kMiB / 8)
      : plan(format, size), size_(size), piece_(piece) {}

  void read(std::uint64_t offset, std::uint64_t size) {
    for (std::uint64_t at = offset; at < offset + size; at += piece_) {
      const ByteRange part = clip({at, std::min(piece_, offset + size - at)}, size_);
      const BlockRun run = blocks_of(part);
      for (BlockIndex block = run.first; block != run.end(); ++block) here_.insert(block);
      plan.note_read(part);
      pump();
    }
  }
  std::size_t blocks() const { return here_.size(); }
  bool has(BlockIndex block) const { return here_.contains(block); }

  FilePlan plan;

 private:
  void pump() {
    while (const auto run = plan.next([&](BlockIndex block) { return here_.contains(block); }, 8))
      for (BlockIndex block = run->first; block != run->end(); ++block)
        EXPECT_TRUE(here_.insert(block).second) << "block " << block << " twice";
  }
  const std::uint64_t size_, piece_;
  std::set<BlockIndex> here_;
};

// Tensors of `each` bytes behind a header of 64 KiB.
Extents tensors(std::uint64_t each, std::uint64_t size) {
  Extents extents{.parts = {}, .head = 64 * 1024};
  for (std::uint64_t at = extents.head; at < size; at += each)
    extents.parts.push_back({at, std::min(each, size - at)});
  return extents;
}

TEST(FilePlan, AHeaderPullsNothing) {
  Reader file(Format::safetensors, 2 * kGiB);
  file.read(0, 8);
  file.read(8, 100'000);
  EXPECT_EQ(file.blocks(), 1u);
}

TEST(FilePlan, OneTensorPullsThatTensor) {
  for (const std::uint64_t piece : {kMiB / 8, kMiB, std::uint64_t{4'096}}) {
    Reader file(Format::safetensors, 2 * kGiB, piece);
    file.read(0, 64 * 1024);
    file.plan.set_extents(tensors(32 * kMiB, 2 * kGiB));
    file.read(64 * 1024 + 5 * 32 * kMiB, 32 * kMiB);
    EXPECT_LE(file.blocks(), 1u + 33u) << piece;
    EXPECT_FALSE(file.plan.filling());
  }
}

// The kernel reads up to 1 MiB further than was asked for.
TEST(FilePlan, ReadAheadBehindATensorPullsNotTheNext) {
  Reader file(Format::safetensors, 2 * kGiB);
  file.plan.set_extents(tensors(32 * kMiB, 2 * kGiB));
  file.read(64 * 1024 + 5 * 32 * kMiB, 33 * kMiB);
  EXPECT_LE(file.blocks(), 34u);
}

TEST(FilePlan, OneTensorIsFetchedWholeOnceItIsReallyRead) {
  Reader file(Format::safetensors, 2 * kGiB);
  file.plan.set_extents(tensors(32 * kMiB, 2 * kGiB));
  file.read(64 * 1024, 4 * kMiB);
  EXPECT_GE(file.blocks(), 32u);
  EXPECT_LE(file.blocks(), 33u);
}

TEST(FilePlan, TheSecondTensorPullsTheFile) {
  Reader file(Format::safetensors, 256 * kMiB);
  file.plan.set_extents(tensors(32 * kMiB, 256 * kMiB));
  file.read(0, 64 * 1024 + 64 * kMiB);
  EXPECT_TRUE(file.plan.filling());
  EXPECT_EQ(file.blocks(), 256u);
}

// Norms and biases in the edge blocks of one large tensor are not read because it is.
// As a copy out of a map does it: the last page, then all before it, and no page twice.
TEST(FilePlan, ATensorWhoseEndIsReadFirstCounts) {
  Reader file(Format::safetensors, 2 * kGiB);
  file.plan.set_extents(tensors(16 * kMiB, 2 * kGiB));
  for (const std::uint64_t tensor : {0, 9}) {
    EXPECT_FALSE(file.plan.filling());
    const std::uint64_t begin = 64 * 1024 + tensor * 16 * kMiB;
    file.read(begin + 16 * kMiB - kMiB / 8, kMiB / 8);
    file.read(begin, 16 * kMiB - kMiB / 8);
  }
  EXPECT_TRUE(file.plan.filling());
}

TEST(FilePlan, SmallNeighboursOfATensorCountForNothing) {
  Reader file(Format::safetensors, 2 * kGiB);
  Extents extents{.parts = {{1'000, 8'000}, {9'000, 8'000}, {17'000, 32 * kMiB}}, .head = 1'000};
  for (int i = 0; i < 8; ++i)
    extents.parts.push_back({extents.parts.back().end(), 8'000});
  file.plan.set_extents(extents);
  file.read(17'000, 32 * kMiB);
  EXPECT_FALSE(file.plan.filling());
  EXPECT_LE(file.blocks(), 33u);
}

TEST(FilePlan, RandomReadsPullNothing) {
  std::mt19937_64 random(7);
  for (const auto format : {Format::other, Format::safetensors}) {
    Reader file(format, 2 * kGiB, kMiB / 4);
    if (format != Format::other) file.plan.set_extents(tensors(32 * kMiB, 2 * kGiB));
    std::set<BlockIndex> read;
    for (int i = 0; i < 60; ++i) {
      const std::uint64_t at = random() % (2 * kGiB - kMiB);
      file.read(at, kMiB);
      const BlockRun run = blocks_of({at, kMiB});
      for (BlockIndex block = run.first; block != run.end(); ++block) read.insert(block);
    }
    EXPECT_EQ(file.blocks(), read.size());
  }
}

// Reads that cross a block's border each time: both blocks at once.
TEST(FilePlan, ReadsThatGoOnIntoTheNextBlockAreMetThere) {
  FilePlan plan(Format::other, 2 * kGiB);
  std::set<BlockIndex> here;
  const auto is_here = [&](BlockIndex block) { return here.contains(block); };
  for (std::uint64_t i = 0; i < 10; ++i) {
    const std::uint64_t at = (i * 37 + 5) * kMiB + kMiB / 2;
    plan.note_read({at, kMiB / 8});
    const auto run = plan.next(is_here, 8);
    EXPECT_EQ(run.has_value(), i >= 4) << i;
    if (run) {
      EXPECT_EQ(*run, (BlockRun{static_cast<BlockIndex>(i * 37 + 6), 1}));
    }
    const BlockRun read = blocks_of({at, kMiB});
    for (BlockIndex block = read.first; block != read.end(); ++block) here.insert(block);
    plan.note_read({at + kMiB / 8, kMiB - kMiB / 8});
    EXPECT_FALSE(plan.next(is_here, 8));
  }
  for (std::uint64_t i = 0; i < 10; ++i) {  // small ones again
    plan.note_read({(i * 37 + 20) * kMiB + 1'000, 4'096});
    EXPECT_EQ(plan.next(is_here, 8).has_value(), i < 2) << i;
  }
}

TEST(FilePlan, AStreamOfUnknownBytesIsFollowed) {
  Reader file(Format::other, 2 * kGiB);
  file.read(100 * kMiB, 2 * kMiB);
  EXPECT_LE(file.blocks(), 3u);
  file.read(102 * kMiB, 6 * kMiB);
  EXPECT_GE(file.blocks(), 23u);
  EXPECT_LE(file.blocks(), 25u);
  file.read(108 * kMiB, 30 * kMiB);
  EXPECT_TRUE(file.plan.filling());
  EXPECT_EQ(file.blocks(), 2'048u);
}

TEST(FilePlan, ManyStreamsEachHaveTheirOwn) {
  Reader file(Format::other, 2 * kGiB);
  for (std::uint64_t step = 0; step < 4; ++step)
    for (std::uint64_t reader = 0; reader < 8; ++reader)
      file.read(reader * 256 * kMiB + step * 2 * kMiB, 2 * kMiB);
  EXPECT_FALSE(file.plan.filling());
  for (std::uint64_t reader = 0; reader < 8; ++reader)
    EXPECT_TRUE(file.has(static_cast<BlockIndex>(reader * 256 + 22))) << reader;
  EXPECT_FALSE(file.has(28));
}

// A zip's directory stands at its end; who never looked there is copying the file.
TEST(FilePlan, AFileWhosePartsNobodyLooksAtIsFollowedAfterAWhile) {
  Reader file(Format::torch_zip, kGiB);
  file.read(0, 40 * kMiB);
  EXPECT_EQ(file.blocks(), 41u);  // and the directory
  file.read(40 * kMiB, 30 * kMiB);
  EXPECT_EQ(file.blocks(), 1'024u);
}

TEST(FilePlan, TheTableIsFetchedForWhoReadsWithoutLooking) {
  Reader file(Format::safetensors, 2 * kGiB);
  file.read(64 * 1024 + 5 * 32 * kMiB, 2 * kMiB);
  EXPECT_FALSE(file.has(0));
  file.read(64 * 1024 + 5 * 32 * kMiB + 2 * kMiB, 2 * kMiB);
  EXPECT_TRUE(file.has(0));
  EXPECT_LE(file.blocks(), 6u);
}

TEST(FilePlan, ASmallFileComesWhole) {
  Reader file(Format::other, 3 * kMiB + 5);
  file.read(0, 4'096);
  EXPECT_EQ(file.blocks(), 4u);
}

TEST(FilePlan, WhatDidNotComeIsAskedForAgain) {
  FilePlan plan(Format::other, 10 * kMiB);
  plan.fill();
  const auto nothing = [](BlockIndex) { return false; };
  EXPECT_EQ(plan.next(nothing, 8), (BlockRun{0, 8}));
  EXPECT_EQ(plan.next(nothing, 8), (BlockRun{8, 2}));
  EXPECT_FALSE(plan.next(nothing, 8));
  plan.forget({8, 2});
  plan.forget({0, 8});
  EXPECT_EQ(plan.next(nothing, 8), (BlockRun{0, 8}));
  EXPECT_EQ(plan.next(nothing, 8), (BlockRun{8, 2}));
}

TEST(FilePlan, FillingBeginsBehindTheReaderAndComesRound) {
  FilePlan plan(Format::other, 20 * kMiB);
  plan.note_read({12 * kMiB, kMiB});
  plan.fill();
  const auto here = [](BlockIndex block) { return block == 12; };
  EXPECT_EQ(plan.next(here, 100), (BlockRun{13, 7}));
  EXPECT_EQ(plan.next(here, 100), (BlockRun{0, 12}));
  EXPECT_FALSE(plan.next(here, 100));
}

TEST(Streams, ReadsALittleOutOfOrderAreOneStream) {
  Streams streams;
  streams.note({0, kMiB});
  streams.note({2 * kMiB, kMiB});
  streams.note({kMiB, kMiB});
  EXPECT_EQ(streams.recent().size(), 1u);
  EXPECT_EQ(streams.recent().front().end, 3 * kMiB);
  streams.note({100 * kMiB, kMiB});
  EXPECT_EQ(streams.recent().size(), 2u);
  for (std::uint64_t i = 0; i < 100; ++i) streams.note({kGiB + i * 10 * kMiB, kMiB});
  EXPECT_LE(streams.recent().size(), 32u);
}

TEST(Shard, Names) {
  const auto shard = Shard::parse("text_encoder/model-00001-of-00003.safetensors");
  ASSERT_TRUE(shard);
  EXPECT_TRUE(shard->is_followed_by("text_encoder/model-00002-of-00003.safetensors"));
  for (const char* other :
       {"text_encoder/model-00003-of-00003.safetensors", "model-00002-of-00003.safetensors",
        "text_encoder/model-00002-of-00003.bin", "text_encoder/model-00002-of-00004.safetensors",
        "text_encoder/model.safetensors"})
    EXPECT_FALSE(shard->is_followed_by(other)) << other;
  for (const char* no : {"", "model.safetensors", "-of-", "1-of-2", "model-0000a-of-00003.bin",
                         "00001-of-00003.bin"})
    EXPECT_FALSE(Shard::parse(no)) << no;
}

std::vector<Catalog::KnownFile> small_files(std::size_t count, std::uint64_t size = 1'000) {
  std::vector<Catalog::KnownFile> files;
  for (std::uint64_t number = 1; number <= count; ++number)
    files.push_back({"f", BlobInfo{.number = number, .id = *BlobId::parse(std::string(40, 'a')), .size = size}});
  return files;
}

TEST(Burst, OnceAndAgainOnlyForWhoGoesOn) {
  Burst burst;
  EXPECT_TRUE(burst.may_begin(1));
  EXPECT_EQ(burst.choose(small_files(200), std::nullopt).size(), Burst::kMostFiles);
  EXPECT_FALSE(burst.may_begin(5));
  EXPECT_FALSE(burst.may_begin(100));
  EXPECT_TRUE(burst.may_begin(65));
}

TEST(Burst, BytesAndBudget) {
  EXPECT_EQ(Burst().choose(small_files(64, kMiB), std::nullopt).size(), 16u);
  EXPECT_EQ(Burst().choose(small_files(64, kMiB + 1), std::nullopt).size(), 0u);
  EXPECT_EQ(Burst().choose(small_files(64), 20).size(), 10u);
  EXPECT_EQ(Burst().choose(small_files(64), 1).size(), 0u);
  auto files = small_files(3);
  files[1].blob.verified = true;
  EXPECT_EQ(Burst().choose(files, std::nullopt), (std::vector<std::uint64_t>{1, 3}));
}

}  // namespace
}  // namespace hffs::prefetch
