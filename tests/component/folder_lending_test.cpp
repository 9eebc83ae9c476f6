// SPDX-License-Identifier: Apache-2.0
//
// A folder that another process lends, and what neither side takes from the other.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "cache_fixture.h"
#include "hffs/lending.h"
#include "hffs/record.h"
#include "lending.h"

namespace hffs::test {
namespace {

class LendingTest : public CacheFixture {
 protected:
  Result<OpenedFolder> lend(const fs::path& path, bool plain = false) {
    lender_.emplace(*Lender::start(path, plain));
    return borrow_folder(lender_->take_end(), stop_.get_token());
  }
  // Who lends and says `answers`, one after the other, to whatever is asked.
  Result<OpenedFolder> lie(const std::vector<std::string>& answers, int descriptor = -1) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    liar_ = UniqueFd(ends[0]);
    for (const std::string& each : answers) EXPECT_TRUE(lending::send(ends[0], each, descriptor, 0));
    return borrow_folder(UniqueFd(ends[1]), stop_.get_token());
  }
  static RecordWriter fine() {
    RecordWriter answer(lending::kVersion);
    return answer.u8(lending::kFine).text("");
  }

  std::stop_source stop_;
  std::optional<Lender> lender_;
  UniqueFd liar_;
};

TEST_F(LendingTest, IsTheFolderItself) {
  add("config.json", "{}", git_sha1("{}"));
  add("sub/dir/x.bin", "bytes", sha256("bytes"));
  write(repo() / "refs/main", kCommit);
  for (const fs::path& path : {root(), repo(), root().parent_path()}) {
    auto opened = lend(path);
    ASSERT_TRUE(opened) << opened.error().message;
    const auto found = read_cache(std::move(*opened));
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->folder.check());
    ASSERT_EQ(found->repos.size(), 1u);
    ASSERT_EQ(found->repos[0].commits.size(), 1u);
    ASSERT_EQ(found->repos[0].commits[0].files.size(), 2u);
    EXPECT_EQ(found->repos[0].commits[0].files[1].blob, sha256("bytes"));
    const auto here = cache_at(path);
    EXPECT_EQ(found->folder.path(), here->folder.path());
    EXPECT_EQ(*found->folder.identity(""), *here->folder.identity(""));
  }
}

TEST_F(LendingTest, ADirectoryOfManyNames) {
  for (int i = 0; i < 3'000; ++i) write(root() / fmt::format("{}-{}", std::string(100, 'x'), i), "");
  auto opened = lend(root(), true);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->folder.list("")->size(), 3'000u);
  EXPECT_EQ(opened->folder.list("")->size(), Folder::open(root())->list("")->size());
}

TEST_F(LendingTest, WhatIsWrongWithItIsHeard) {
  EXPECT_EQ(lend(root() / "nowhere").error().code, Code::not_found);
  write(root() / "file", "");
  EXPECT_EQ(lend(root() / "file").error().code, Code::not_directory);
}

TEST_F(LendingTest, OnlyFilesBelowItAreLent) {
  add("config.json", "{}", git_sha1("{}"));
  write(root().parent_path() / "secret", "nobody's business");
  link("../secret", root() / "out");
  link((root().parent_path() / "secret").string(), root() / "far");
  ASSERT_EQ(::mkfifo((root() / "pipe").c_str(), 0600), 0);
  auto opened = lend(root());
  ASSERT_TRUE(opened) << opened.error().message;
  const Folder& folder = opened->folder;
  for (const char* place : {"../secret", "/etc/passwd", "out", "far"})
    EXPECT_EQ(folder.open_file(place).error().code, Code::refused) << place;
  EXPECT_EQ(folder.list("..").error().code, Code::refused);
  EXPECT_EQ(folder.list("/").error().code, Code::refused);
  EXPECT_EQ(folder.identity("..").error().code, Code::refused);
  EXPECT_FALSE(folder.open_file("pipe"));
  EXPECT_FALSE(folder.open_file(kLayout));
  const auto file = folder.open_file(fmt::format("{}/snapshots/{}/config.json", kLayout, kCommit));
  ASSERT_TRUE(file);
  EXPECT_EQ(::write(file->fd.get(), "x", 1), -1) << "it is lent to be read";
  EXPECT_TRUE(folder.check()) << "a refusal is not the end";
}

TEST_F(LendingTest, TheEndOfEitherIsNoticed) {
  add("config.json", "{}", git_sha1("{}"));
  auto opened = lend(root());
  ASSERT_TRUE(opened);
  lender_.reset();
  EXPECT_EQ(opened->folder.list("").error().code, Code::cancelled);
  EXPECT_EQ(opened->folder.check().error().code, Code::cancelled);
  // One that says nothing is waited for until the stop.
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop_.request_stop();
  });
  EXPECT_EQ(lie({}).error().code, Code::cancelled);
  later.join();
}

TEST_F(LendingTest, NonsenseIsNotBelieved) {
  EXPECT_EQ(lie({"?"}).error().code, Code::corrupt);
  EXPECT_EQ(lie({std::string(60'000, '\1')}).error().code, Code::corrupt);
  RecordWriter no_code(lending::kVersion);
  EXPECT_EQ(lie({std::string(std::string_view(no_code.u8(200).text("")))}).error().code, Code::corrupt);
  const std::string begun(std::string_view(fine().text("/somewhere")));
  RecordWriter names(lending::kVersion);
  names.u32(S_IFREG).text("../up");
  const std::string list(std::string_view(fine().u8(0).text(std::string_view(names).substr(1))));
  auto opened = lie({begun, list});
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->folder.list("").error().code, Code::corrupt);
  EXPECT_EQ(opened->folder.check().error().code, Code::cancelled) << "who lies once is heard no more";
  // A descriptor of something that is no file.
  const UniqueFd device(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  opened = lie({begun, std::string(std::string_view(fine()))}, device.get());
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->folder.open_file("x").error().code, Code::invalid);
  // No socket at all.
  EXPECT_FALSE(borrow_folder(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)), stop_.get_token()));
  EXPECT_FALSE(borrow_folder(UniqueFd(), stop_.get_token()));
}

}  // namespace
}  // namespace hffs::test
