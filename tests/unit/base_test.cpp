// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "hffs/bytes.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

TEST(Codes, TableIsTotalAndExitCodesAreUnique) {
  std::set<int> exits;
  for (int i = 0; i < kCodeCount; ++i) {
    const CodeInfo& row = info(static_cast<Code>(i));
    EXPECT_FALSE(row.name.empty());
    EXPECT_GT(row.errno_value, 0) << row.name;
    EXPECT_TRUE(exits.insert(row.exit_code).second) << row.name;
    EXPECT_GT(row.exit_code, 1) << row.name;
  }
}

TEST(Log, ALineIsTheComponentAndTheTextAsItIs) {
  const std::string file = testing::TempDir() + "hffs-log-" + std::to_string(getpid());
  start_log(Level::info, file);
  write_log(Level::info, "hub", "models/{} answered %s {0");
  log(Level::info, "fs", "{} is {}", "a{b}", 3);
  log(Level::debug, "fs", "is not written");
  std::ifstream in(file);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  std::filesystem::remove(file);
  EXPECT_THAT(text, testing::MatchesRegex("[^ ]+ info hub models/\\{\\} answered %s \\{0\n"
                                          "[^ ]+ info fs a\\{b\\} is 3\n"));
}

// The table of docs/SEMANTICS.md, as far as a code stands for one word of it.
TEST(Codes, ErrnosAreTheDocumentedOnes) {
  const std::pair<Code, int> kDocumented[] = {
      {Code::not_found, ENOENT},       {Code::denied, EACCES},
      {Code::needs_login, EACCES},     {Code::refused, EPERM},
      {Code::exists, EEXIST},          {Code::not_directory, ENOTDIR},
      {Code::is_directory, EISDIR},    {Code::not_empty, ENOTEMPTY},
      {Code::stale, ESTALE},           {Code::cancelled, EINTR},
      {Code::timed_out, EIO},          {Code::unreachable, EIO},
      {Code::corrupt, EIO},            {Code::offline, EIO},
      {Code::no_space, ENOSPC},        {Code::invalid, EINVAL},
      {Code::unsupported, EOPNOTSUPP}, {Code::io, EIO}};
  for (const auto& [code, errno_value] : kDocumented)
    EXPECT_EQ(info(code).errno_value, errno_value) << info(code).name;
}

TEST(Metrics, TableIsTotal) {
  for (int i = 0; i < static_cast<int>(Metric::count_); ++i)
    EXPECT_FALSE(info(static_cast<Metric>(i)).help.empty()) << i;
}

TEST(RepoId, LayoutNamesRoundTrip) {
  for (const char* name : {"models--acme--tiny", "datasets--a--b.c_d", "spaces--x--y", "models--gpt2",
                           "kernels--k--n"}) {
    const auto id = RepoId::parse_layout(name);
    ASSERT_TRUE(id) << name;
    EXPECT_EQ(id->layout(), name);
  }
  EXPECT_EQ(RepoId::parse_layout("models--acme--tiny")->name(), "acme/tiny");
  EXPECT_EQ(RepoId::parse_layout("datasets--a--b")->text(), "datasets/a/b");
}

TEST(RepoId, MalformedLayoutNamesAreNotFound) {
  for (const char* name :
       {"", "models", "models--", "models--a--b--c", "model--a--b", "models--a--", "models----b",
        "models--a/b", "models--.a--b", "models--a--b.", "models--a--b.git", "models---a--b",
        "models--a b", "models--a--b\n", "models--..--x", "blobs", "tmp123", "models--a---b"}) {
    const auto id = RepoId::parse_layout(name);
    ASSERT_FALSE(id) << name;
    EXPECT_EQ(id.error().code, Code::not_found);
  }
  EXPECT_FALSE(RepoId::parse_layout("models--" + std::string(97, 'a')));
}

TEST(RepoPath, HostilePathsAreCorrupt) {
  for (std::string_view path :
       {std::string_view(""), std::string_view("/a"), std::string_view("a//b"),
        std::string_view(".."), std::string_view("a/../b"), std::string_view("./a"),
        std::string_view("a/"), std::string_view("a\0b", 3), std::string_view("a\nb")}) {
    const auto parsed = parse_repo_path(path);
    ASSERT_FALSE(parsed) << path;
    EXPECT_EQ(parsed.error().code, Code::corrupt);
  }
  EXPECT_FALSE(parse_repo_path(std::string(256, 'x')));
  EXPECT_TRUE(parse_repo_path(std::string(255, 'x') + "/é #?%+ x.json"));
}

TEST(BlobId, OnlyLowercaseHexOfTheTwoLengths) {
  EXPECT_TRUE(BlobId::parse(std::string(40, 'a')));
  EXPECT_EQ(BlobId::parse(std::string(64, '0'))->kind(), BlobId::Kind::sha256);
  for (const auto& hex : {std::string(39, 'a'), std::string(40, 'A'), std::string(41, 'a'),
                          std::string(63, 'a'), std::string("../../etc/passwd")})
    EXPECT_FALSE(BlobId::parse(hex)) << hex;
}

TEST(SideNames, NeverReachTheHub) {
  for (const char* name : {"main.lock", "x.tmp", "y.incomplete", "tmpab12", "tmp_1"})
    EXPECT_TRUE(is_side_name(name)) << name;
  for (const char* name : {"main", "v1.0", "lock", "template"}) EXPECT_FALSE(is_side_name(name));
}

TEST(Blocks, RangesAndBlocksConvertExactly) {
  constexpr std::uint64_t m = kBlockSize;
  EXPECT_EQ(block_count(0), 0u);
  EXPECT_EQ(block_count(1), 1u);
  EXPECT_EQ(block_count(m), 1u);
  EXPECT_EQ(block_count(m + 1), 2u);
  EXPECT_EQ(blocks_of({0, 0}), (BlockRun{0, 0}));
  EXPECT_EQ(blocks_of({m - 1, 2}), (BlockRun{0, 2}));
  EXPECT_EQ(blocks_of({m, m}), (BlockRun{1, 1}));
  EXPECT_EQ(bytes_of(BlockIndex{1}, m + 10), (ByteRange{m, 10}));
  EXPECT_EQ(clip({m, 100}, m + 10), (ByteRange{m, 10}));
  EXPECT_EQ(clip({5 * m, 100}, m), (ByteRange{m, 0}));
}

TEST(Records, RoundTripAndRefuseTruncation) {
  const std::string bytes{std::string_view(
      RecordWriter(1).u8(7).u32(1u << 31).u64(~0ull).i64(-5).text("hello"))};
  Reader reader(bytes);
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u8(), 7);
  EXPECT_EQ(reader.u32(), 1u << 31);
  EXPECT_EQ(reader.u64(), ~0ull);
  EXPECT_EQ(reader.i64(), -5);
  EXPECT_EQ(reader.text(), "hello");
  EXPECT_TRUE(reader.complete());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Reader cut(std::string_view(bytes).substr(0, size));
    cut.u8(), cut.u8(), cut.u32(), cut.u64(), cut.i64(), cut.text();
    EXPECT_FALSE(cut.complete()) << size;
  }
}

TEST(Records, KeysSortAsNumbers) {
  EXPECT_LT(KeyWriter().u64(255).bytes(), KeyWriter().u64(256).bytes());
  EXPECT_LT(KeyWriter().u32(1).u32(~0u).bytes(), KeyWriter().u32(2).u32(0).bytes());
}

}  // namespace
}  // namespace hffs
