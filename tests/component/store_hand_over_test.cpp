// SPDX-License-Identifier: Apache-2.0
//
// A store that becomes another user's.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "hffs/hand_over.h"
#include "hffs/posix.h"
#include "temporary.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

class HandOverTest : public testing::Test {
 protected:
  static constexpr uid_t kUser = 12'345;
  static constexpr gid_t kGroup = 54'321;

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
    for (const char* each : {"LOCK", "index/data.mdb", "blobs/aa/blob", "overlay/1"}) write(store() / each);
    write(root() / "outside/file");
  }
  fs::path root() const { return directory_.path(); }
  fs::path store() const { return root() / "hffs-v1"; }
  static void write(const fs::path& path) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "text";
  }
  static std::pair<uid_t, gid_t> owner(const fs::path& path) {
    struct stat found {};
    EXPECT_EQ(::lstat(path.c_str(), &found), 0) << path;
    return {found.st_uid, found.st_gid};
  }
  static constexpr std::pair<uid_t, gid_t> kRoot{0, 0}, kThem{kUser, kGroup};

  TemporaryDirectory directory_;
};

TEST_F(HandOverTest, AllOfItAndNothingElse) {
  fs::create_directory_symlink("../outside", store() / "link");
  fs::create_directory_symlink(root() / "outside", store() / "blobs/bb");
  fs::create_symlink("../../../outside/file", store() / "blobs/aa/file");
  fs::create_hard_link(root() / "outside/file", store() / "blobs/aa/also");
  ASSERT_TRUE(hand_over_store(root(), 0, kUser, kGroup));
  for (const char* each : {"", "LOCK", "index", "index/data.mdb", "blobs/aa/blob", "overlay/1", "link", "blobs/bb"})
    EXPECT_EQ(owner(store() / each), kThem) << each;
  for (const fs::path& each : {root(), root() / "outside", root() / "outside/file", store() / "blobs/aa/also"})
    EXPECT_EQ(owner(each), kRoot) << each;
  // And back, where there is no such user any more.
  ASSERT_TRUE(hand_over_store(root(), kUser, 0, 0));
  EXPECT_EQ(owner(store() / "index/data.mdb"), kRoot);
}

TEST_F(HandOverTest, WhatWasBegunGoesOn) {
  // The directory itself comes last.
  ASSERT_EQ(::chown((store() / "index").c_str(), kUser, kGroup), 0);
  ASSERT_TRUE(hand_over_store(root(), 0, kUser, kGroup));
  EXPECT_EQ(owner(store()), kThem);
  EXPECT_EQ(owner(store() / "index/data.mdb"), kThem);
}

TEST_F(HandOverTest, OnlyFromWhomItIsSaidToBe) {
  ASSERT_EQ(::chown(store().c_str(), 7, 7), 0);
  ASSERT_TRUE(hand_over_store(root(), 0, kUser, kGroup));
  EXPECT_EQ(owner(store() / "index/data.mdb"), kRoot);
}

TEST_F(HandOverTest, NotWhileSomebodyHasIt) {
  const UniqueFd lock(::open((store() / "LOCK").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  EXPECT_EQ(hand_over_store(root(), 0, kUser, kGroup).error().code, Code::busy);
  EXPECT_EQ(owner(store() / "index/data.mdb"), kRoot);
}

TEST_F(HandOverTest, ALinkInThePlaceOfTheStore) {
  fs::rename(store(), root() / "elsewhere");
  fs::create_directory_symlink("elsewhere", store());
  EXPECT_FALSE(hand_over_store(root(), 0, kUser, kGroup));
  EXPECT_EQ(owner(root() / "elsewhere/LOCK"), kRoot);
}

}  // namespace
}  // namespace hffs::test
