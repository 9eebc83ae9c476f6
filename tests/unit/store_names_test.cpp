// SPDX-License-Identifier: Apache-2.0
//
// In which order names become durable: the new one of a file before its old one is gone.
#include <gtest/gtest.h>

#include <vector>

#include "moved_names.h"

namespace hffs {
namespace {

class NotingDisk final : public Disk {
 public:
  Result<UniqueFd> open(const std::string&, int, mode_t) override { return UniqueFd(); }
  Result<void> pwrite_all(int, std::span<const std::byte>, std::uint64_t) override { return {}; }
  Result<std::size_t> pread_some(int, std::span<std::byte>, std::uint64_t) override { return 0; }
  Result<void> truncate(int, std::uint64_t) override { return {}; }
  Result<void> sync_data(int) override { return {}; }
  Result<void> make_directory(const std::string&, mode_t) override { return {}; }
  Result<void> remove(const std::string&) override { return {}; }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (from == refused) return fail(Code::io, "no");
    did.push_back(from + " to " + to);
    return {};
  }
  Result<void> sync_directory(const std::string& path) override {
    if (path == refused) return fail(Code::io, "no");
    did.push_back("sync " + path);
    return {};
  }

  std::string refused;
  std::vector<std::string> did;
};

using Did = std::vector<std::string>;

TEST(MovedNames, WhatWasMovedIsDurableBeforeItsSourceIsSynced) {
  NotingDisk disk;
  MovedNames names(disk);
  ASSERT_TRUE(names.move("filling/1", "blobs/aa/x", "blobs/aa"));
  ASSERT_TRUE(names.sync_source("filling"));
  EXPECT_EQ(disk.did, (Did{"filling/1 to blobs/aa/x", "sync blobs/aa", "sync filling"}));
  ASSERT_TRUE(names.sync());
  ASSERT_TRUE(names.sync_source("filling"));
  EXPECT_EQ(disk.did.size(), 4u);  // no folder twice
}

TEST(MovedNames, ASourceIsNotSyncedWhileTheNewNameCannotBe) {
  NotingDisk disk;
  MovedNames names(disk);
  names.note("blobs");
  ASSERT_TRUE(names.move("filling/1", "blobs/aa/x", "blobs/aa"));
  disk.refused = "blobs/aa";
  EXPECT_FALSE(names.sync_source("filling"));
  EXPECT_FALSE(names.sync());
  EXPECT_EQ(disk.did, (Did{"filling/1 to blobs/aa/x", "sync blobs"}));
  disk.refused.clear();
  EXPECT_TRUE(names.sync_source("filling"));
  EXPECT_EQ(disk.did.back(), "sync filling");
}

TEST(MovedNames, WhatCouldNotBeMovedIsNotNoted) {
  NotingDisk disk;
  MovedNames names(disk);
  disk.refused = "filling/1";
  EXPECT_FALSE(names.move("filling/1", "blobs/aa/x", "blobs/aa"));
  EXPECT_TRUE(names.sync());
  EXPECT_TRUE(disk.did.empty());
}

}  // namespace
}  // namespace hffs
