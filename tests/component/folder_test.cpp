// SPDX-License-Identifier: Apache-2.0
//
// The layouts that a folder may have, as they are read.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "cache_fixture.h"
#include "hffs/folder_origin.h"
#include "hffs/layout.h"
#include "hffs/naming.h"
#include "reading.h"

namespace {
std::string name_that_fails;
}

// In place of the C library's: a server that does not answer for one name.
extern "C" int fstatat64(int at, const char* name, struct stat64* into, int flags) noexcept {
  if (!name_that_fails.empty() && name_that_fails == name) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_newfstatat, at, name, into, flags));
}

namespace hffs::test {
namespace {

class LayoutTest : public CacheFixture {};

TEST_F(LayoutTest, ReadsLinks) {
  add("config.json", "{}", git_sha1("{}"));
  add("sub/dir/x.bin", "bytes", sha256("bytes"));
  write(repo() / "refs/main", kCommit);
  write(repo() / "refs/refs/pr/1", kCommit + "\n");
  for (const fs::path& path : {root(), repo(), root().parent_path()}) {
    const auto found = cache_at(path);  // the last one as HF_HOME
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->skipped.empty());
    ASSERT_EQ(found->repos.size(), 1u);
    const auto& taken = found->repos[0];
    EXPECT_EQ(taken.id, kRepo);
    ASSERT_EQ(taken.refs.size(), 2u);
    EXPECT_EQ(taken.refs[0].revision, "main");
    EXPECT_EQ(taken.refs[1].revision, "refs/pr/1");
    ASSERT_EQ(taken.commits.size(), 1u);
    ASSERT_EQ(taken.commits[0].files.size(), 2u);
    EXPECT_EQ(taken.commits[0].files[0].blob, git_sha1("{}"));
    EXPECT_EQ(taken.commits[0].files[1].path, "sub/dir/x.bin");
    EXPECT_EQ(taken.commits[0].files[1].blob, sha256("bytes"));
    EXPECT_EQ(taken.commits[0].files[1].size, 5u);
  }
}

TEST_F(LayoutTest, ReadsFilesWhereThereAreNoLinks) {
  write(snapshot() / "config.json", "{}");
  const auto found = cache_at(root());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->repos[0].commits[0].files[0].blob);
}

TEST_F(LayoutTest, ReadsTheStoreOfAWholeCache) {
  const std::string xet(64, '7'), etag = sha256("bytes").hex();
  write(root() / "blobs/77" / xet, "bytes");
  write(root() / "blobs/.huggingface-shared-blobs", "1\n");
  link("../../blobs/77/" + xet, repo() / "blobs" / etag);
  link("../../blobs/" + etag, snapshot() / "x.bin");
  for (const fs::path& path : {root(), repo()}) {
    const auto found = cache_at(path);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->repos[0].commits[0].files.size(), 1u) << path;
    EXPECT_EQ(found->repos[0].commits[0].files[0].blob, sha256("bytes"));
    EXPECT_EQ(found->repos[0].commits[0].files[0].size, 5u);
  }
}

TEST_F(LayoutTest, NeverLeavesTheFolder) {
  write(fs::path(directory_.path()) / "secret", "nobody's business");
  write(root() / "other/secret", "nor this, where one repository was named");
  link("../../../../secret", snapshot() / "up");
  link(fs::path(directory_.path()) / "secret", snapshot() / "absolute");
  link("../../../other", snapshot() / "folder");
  link("../../../other/secret", snapshot() / "beside");
  link("circle", snapshot() / "circle");
  link("/proc/self/fd/0", snapshot() / "magic");
  const auto found = cache_at(repo());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->repos[0].commits[0].files.empty());
  EXPECT_EQ(left_out(found->skipped),
            (Left{{"up", "outside"}, {"absolute", "outside"}, {"folder", "outside"},
                  {"beside", "outside"}, {"circle", "broken_link"}, {"magic", "outside"}}));
}

TEST_F(LayoutTest, LeavesOutWhatIsNoFile) {
  add("good", "{}", git_sha1("{}"));
  link("../../blobs/" + std::string(64, '1'), snapshot() / "dangling");
  ASSERT_EQ(::mkfifo((snapshot() / "pipe").c_str(), 0600), 0);
  write(snapshot() / "new\nline", "x");
  write(repo() / "snapshots/main/file", "x");
  link("/somewhere", repo() / "snapshots" / std::string(40, 'b'));
  write(repo() / "refs/broken", "not a commit");
  write(repo() / "blobs" / (std::string(64, '2') + ".incomplete"), "x");
  write(repo() / "blobs" / std::string(64, '3'), "x");
  write(repo() / "blobs" / (std::string(64, '3') + ".lock"), "");
  write(root() / "notes/file", "x");
  const auto found = cache_at(root());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(left_out(found->skipped),
            (Left{{"dangling", "broken_link"}, {"pipe", "unreadable"}, {"new\nline", "bad_name"},
                  {"main", "bad_name"}, {"broken", "bad_name"}, {std::string(40, 'b'), "outside"},
                  {std::string(64, '2') + ".incomplete", "partial"},
                  {std::string(64, '3'), "unreferenced"}}));
  EXPECT_EQ(found->repos[0].commits[0].files.size(), 1u);
}

// A tree that lacks it would say that there is no such file, and loaders take another then.
TEST_F(LayoutTest, WhatCannotBeReadNowIsNoAbsence) {
  add("config.json", "{}", git_sha1("{}"));
  add("model.safetensors", "bytes", sha256("bytes"));
  const auto list = [&] {
    return folder::list_commit(*Folder::open(root()), kRepo, *CommitId::parse(kCommit));
  };
  ASSERT_TRUE(list());
  EXPECT_EQ(list()->commit.files.size(), 2u);
  name_that_fails = "model.safetensors";
  const auto listed = list();
  const auto imported = cache_at(root());
  name_that_fails.clear();
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, Code::unreachable);
  ASSERT_TRUE(imported);
  EXPECT_EQ(left_out(imported->skipped)[kCommit], "unreadable");
}

// The folder's handle, the Hub's that follows it, and the sink: whoever is last must not keep the rest.
TEST_F(LayoutTest, ARangeThatIsOverKeepsNothing) {
  struct Counted final : RangeSink {
    explicit Counted(std::promise<void>& promise) : over(promise) {}
    void on_start(ByteRange) override {}
    Flow on_data(std::uint64_t, std::span<const std::byte>) override { return Flow::more; }
    void on_done(Result<void>) override { over.set_value(); }
    std::promise<void>& over;
  };
  add("model.safetensors", "bytes", sha256("bytes"));
  Metrics metrics;
  for (const bool there : {true, false}) {
    std::vector<std::unique_ptr<Origin>> folders;
    folders.push_back(open_folder({.path = root().string()}, metrics));
    const auto origin = combine(std::move(folders), std::make_unique<FakeOrigin>());
    std::promise<void> over;
    auto sink = std::make_shared<Counted>(over);
    const std::weak_ptr<RangeSink> watched = sink;
    const BlobId blob = there ? sha256("bytes") : sha256("other");
    auto fetch = origin->fetch_range({.repo = kRepo, .commit = *CommitId::parse(kCommit), .path = "model.safetensors",
                                      .blob = blob, .size = 5},
                                     {0, 5}, std::move(sink));
    over.get_future().wait();
    fetch.reset();
    for (int i = 0; i < 400 && !watched.expired(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(watched.expired());
    origin->stop();
  }
}

TEST_F(LayoutTest, ReadsAListing) {
  add("config.json", "{}", git_sha1("{}"));
  const auto listing = [&](const std::string& text) {
    write(repo() / "trees" / (kCommit + ".json"), text);
    return cache_at(root())->repos[0].commits[0].listing;
  };
  const auto good = listing(fmt::format(
      R"({{"format_version":1,"files":{{"config.json":{{"size":2,"blob_id":"{}"}},)"
      R"("x.bin":{{"size":130,"blob_id":"{}","lfs_sha256":"{}","lfs_size":5}},)"
      R"("../out":{{"size":2,"blob_id":"{}"}},"no-size":{{"blob_id":"{}"}},"odd":3}}}})",
      git_sha1("{}").hex(), git_sha1("p").hex(), sha256("bytes").hex(), git_sha1("{}").hex(),
      git_sha1("{}").hex()));
  ASSERT_EQ(good.size(), 2u);
  EXPECT_EQ(good[1].path, "x.bin");
  EXPECT_EQ(good[1].blob, sha256("bytes"));
  EXPECT_EQ(good[1].size, 5u);
  for (const char* bad : {"", "[]", "{", R"({"format_version":2,"files":{}})", R"({"format_version":1})",
                          R"({"format_version":1,"files":[]})", R"({"format_version":"1"})"})
    EXPECT_TRUE(listing(bad).empty()) << bad;
}

TEST_F(LayoutTest, ReadsAPlainFolder) {
  write(root() / "config.json", "{}");
  write(root() / "sub/x.bin", "bytes");
  write(root() / ".gitattributes", "*.bin filter=lfs");
  write(root() / ".cache/huggingface/download/x.lock", "");
  write(root() / ".git/HEAD", "x");
  write(root() / "y.bin.incomplete", "x");
  const auto found = read_plain(*open_plain(root()), kRepo);
  ASSERT_TRUE(found) << found.error().message;
  std::set<std::string> paths;
  for (const auto& file : found->repos[0].commits[0].files) paths.insert(file.path);
  EXPECT_EQ(paths, (std::set<std::string>{".gitattributes", "config.json", "sub/x.bin"}));
  EXPECT_EQ(left_out(found->skipped), (Left{{"y.bin.incomplete", "partial"}}));
  EXPECT_EQ(cache_at(root()).error().code, Code::invalid);
}

TEST_F(LayoutTest, GivesTheNamesThatTheHubWould) {
  const auto kind = [&](const std::string& text) {
    write(root() / "file", text);
    const UniqueFd fd(::open((root() / "file").c_str(), O_RDONLY | O_CLOEXEC));
    return *kind_of_file(fd.get(), text.size());
  };
  using enum BlobId::Kind;
  EXPECT_EQ(kind(""), git_sha1);
  EXPECT_EQ(kind("text"), git_sha1);
  EXPECT_EQ(kind(std::string(8'000, 'x') + '\0'), git_sha1);
  EXPECT_EQ(kind(std::string(7'999, 'x') + '\0'), sha256);
  EXPECT_EQ(kind(std::string((10 << 20) - 1, 'x')), git_sha1);
  EXPECT_EQ(kind(std::string(10 << 20, 'x')), sha256);
  // Whatever the order, by hand: sha1("blob 94\0" + the two lines).
  const TreeEntry a{.path = "a", .size = 2, .blob = test::git_sha1("{}")};
  const TreeEntry b{.path = "b", .size = 1, .blob = test::git_sha1("x")};
  EXPECT_EQ(commit_of({a, b})->hex(), commit_of({b, a})->hex());
  EXPECT_EQ(commit_of({a, b})->hex(),
            test::git_sha1(fmt::format("{} 2 a\n{} 1 b\n", a.blob->hex(), b.blob->hex())).hex());
}

}  // namespace
}  // namespace hffs::test
