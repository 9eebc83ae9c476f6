// SPDX-License-Identifier: Apache-2.0
//
// What may be registered for passthrough: the checks stand before the kernel is asked, and a device that
// is none makes the answer to what passed them "unsupported".
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "backing.h"

namespace hffs {
namespace {

namespace fs = std::filesystem;

class BackingTest : public testing::Test {
 protected:
  BackingTest() {
    std::string pattern = (fs::temp_directory_path() / "hffs-keeper-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fs::create_directories(blobs() / "aa");
    std::ofstream(root_ / "secret") << "not a blob";
  }
  ~BackingTest() override { fs::remove_all(root_); }

  fs::path blobs() const { return root_ / "blobs"; }
  fs::path file(const std::string& hex = kHex) const { return blobs() / hex.substr(0, 2) / hex; }
  Code add(const std::string& hex = kHex) const {
    auto files = BackingFiles::open(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)), blobs(), ::geteuid());
    EXPECT_TRUE(files);
    auto id = files->add(*BlobId::parse(hex));
    EXPECT_FALSE(id);
    return id.error().code;
  }

  static inline const std::string kHex = std::string(64, 'a');
  fs::path root_;
};

TEST_F(BackingTest, AFileOfOursPasses) {
  std::ofstream(file()) << "bytes";
  EXPECT_EQ(add(), Code::unsupported);
  const std::string git(40, 'a');
  std::ofstream(file(git)) << "bytes";
  EXPECT_EQ(add(git), Code::unsupported);
}

TEST_F(BackingTest, NothingThere) {
  EXPECT_EQ(add(), Code::not_found);
  EXPECT_EQ(add(std::string(64, 'b')), Code::not_found);
}

TEST_F(BackingTest, ALinkIsNotFollowed) {
  fs::create_symlink(root_ / "secret", file());
  EXPECT_EQ(add(), Code::refused);
  fs::remove(file());
  fs::create_symlink("../../secret", file());
  EXPECT_EQ(add(), Code::refused);
  // Nor one in the place of the directory.
  fs::create_directory(root_ / "bb");
  std::ofstream(root_ / "bb" / std::string(64, 'b')) << "not a blob";
  fs::create_symlink(root_ / "bb", blobs() / "bb");
  EXPECT_EQ(add(std::string(64, 'b')), Code::refused);
}

TEST_F(BackingTest, AFileWithASecondNameIsRefused) {
  fs::create_hard_link(root_ / "secret", file());
  EXPECT_EQ(add(), Code::refused);
}

TEST_F(BackingTest, WhatIsNoRegularFileIsRefused) {
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_EQ(add(), Code::refused);
  fs::remove(file());
  fs::create_directory(file());
  EXPECT_EQ(add(), Code::refused);
}

TEST_F(BackingTest, AFileOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  std::ofstream(file()) << "bytes";
  ASSERT_EQ(::chown(file().c_str(), 12'345, 12'345), 0);
  EXPECT_EQ(add(), Code::refused);
}

TEST_F(BackingTest, WhatIsRefusedIsNotOpened) {
  const UniqueFd seen(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const auto was_opened = [&] {
    bool opened = false;
    alignas(inotify_event) char events[sizeof(inotify_event)];
    // What is watched is a file itself: its events have no name.
    while (::read(seen.get(), events, sizeof(events)) > 0)
      opened = opened || (reinterpret_cast<const inotify_event*>(events)->mask & IN_OPEN) != 0;
    return opened;
  };
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  ASSERT_GE(::inotify_add_watch(seen.get(), file().c_str(), IN_OPEN), 0);
  EXPECT_EQ(add(), Code::refused);
  EXPECT_FALSE(was_opened());
  fs::remove(file());
  std::ofstream(file()) << "bytes";
  ASSERT_GE(::inotify_add_watch(seen.get(), file().c_str(), IN_OPEN), 0);
  fs::create_hard_link(file(), root_ / "other");
  EXPECT_EQ(add(), Code::refused);
  EXPECT_FALSE(was_opened());
  fs::remove(root_ / "other");
  EXPECT_EQ(add(), Code::unsupported);
  EXPECT_TRUE(was_opened()) << "nothing is seen at all";
}

TEST_F(BackingTest, NoDirectoryNoFiles) {
  auto files = BackingFiles::open(UniqueFd(), "", 0);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->add(*BlobId::parse(kHex)).error().code, Code::unsupported);
  EXPECT_FALSE(BackingFiles::open(UniqueFd(), (root_ / "nowhere").string(), 0));
}

}  // namespace
}  // namespace hffs
