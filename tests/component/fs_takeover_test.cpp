// SPDX-License-Identifier: Apache-2.0
//
// The overlay in the hands of one worker after another: what was done and not answered is asked again.
#include <linux/fuse.h>

#include "fs_fixture.h"
#include "hffs/record.h"
#include "overlay_rows.h"

namespace hffs {
namespace {

using test::FsTest;
using test::wait_for;

class FsTakeoverTest : public FsTest {
 protected:
  static constexpr std::uint64_t kFirst = 2, kSecond = 4;

  // The kernel's request of this number, which it has handed over.
  static Caller asks(std::uint64_t request) { return {kAlice, kAlice, 1, request}; }
  void arrives(std::uint64_t request) { receive(*handover_, static_cast<unsigned>(request / 2 % 8), request, FUSE_MKDIR); }
  // A worker ends here, and the next one is asked what this one did not answer.
  void next_worker() {
    close();
    handover_ = memory_.next();
    (void)handover_->left();
    open();
    for (const auto& [row, node] : handover_->open_nodes())
      if (node.count > 0) files_->reopen({node.node}, node.count);
  }
  void is_open(NodeId node, std::uint32_t count = 1) {
    ASSERT_TRUE(handover_->add_open({.node = node.value, .count = count, .backing = 0}, 0));
  }
  Result<void> rename_as(const Caller& caller, NodeId from, std::string_view name, NodeId to, std::string_view new_name) {
    return wait_for<void>([&](Done<void> done) {
      files_->rename(caller, from, name, to, new_name, 0, std::move(done));
    });
  }
};

TEST_F(FsTakeoverTest, WhatWasMadeIsMadeOnce) {
  arrives(kFirst);
  const auto made = files_->make_directory(asks(kFirst), locks(), "d", 0755);
  ASSERT_TRUE(made);
  next_worker();
  const auto again = files_->make_directory(asks(kFirst), locks(), "d", 0755);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->node, made->node);
  EXPECT_EQ(code(files_->make_directory(asks(kSecond), locks(), "d", 0755)), Code::exists);
  handover_->answered(kFirst);
  next_worker();
  EXPECT_EQ(code(files_->make_directory(asks(kSecond), locks(), "d", 0755)), Code::exists);
  EXPECT_EQ(code(files_->make_directory(user(kAlice), locks(), "d", 0755)), Code::exists);
}

// A lock file that somebody else made is not his.
TEST_F(FsTakeoverTest, WhatWasNotMadeByThisRequestExists) {
  put(kAlice, locks(), "a.lock", "");
  arrives(kFirst);
  EXPECT_EQ(code(files_->make_file(asks(kFirst), locks(), "a.lock", 0644)), Code::exists);
  next_worker();
  EXPECT_EQ(code(files_->make_file(asks(kFirst), locks(), "a.lock", 0644)), Code::exists);
}

TEST_F(FsTakeoverTest, AFileAndALinkToo) {
  arrives(kFirst);
  arrives(kSecond);
  const auto file = files_->make_file(asks(kFirst), locks(), "a.lock", 0644);
  const auto link = files_->make_link(asks(kSecond), locks(), "l", "a.lock");
  ASSERT_TRUE(file && link);
  next_worker();
  EXPECT_EQ(files_->make_file(asks(kFirst), locks(), "a.lock", 0644)->node, file->node);
  EXPECT_EQ(files_->make_link(asks(kSecond), locks(), "l", "a.lock")->node, link->node);
  EXPECT_EQ(data_files(), 1u);
}

TEST_F(FsTakeoverTest, WhatWasRemovedIsRemovedOnce) {
  put(kAlice, locks(), "a.lock", "x");
  make_directory(kAlice, locks(), "d");
  arrives(kFirst);
  arrives(kSecond);
  ASSERT_TRUE(files_->remove(asks(kFirst), locks(), "a.lock", false));
  ASSERT_TRUE(files_->remove(asks(kSecond), locks(), "d", true));
  next_worker();
  // Somebody has made one of that name before he is asked again: it stays.
  const NodeId other = put(kAlice, locks(), "a.lock", "other");
  EXPECT_TRUE(files_->remove(asks(kFirst), locks(), "a.lock", false));
  EXPECT_TRUE(files_->remove(asks(kSecond), locks(), "d", true));
  EXPECT_EQ(at(kAlice, ".locks/a.lock"), other);
  EXPECT_FALSE(files_->remove(asks(6), locks(), "d", true));
}

TEST_F(FsTakeoverTest, WhatWasMovedIsMovedOnce) {
  const NodeId file = put(kAlice, locks(), "from", "one");
  put(kAlice, locks(), "to", "two");
  arrives(kFirst);
  ASSERT_TRUE(rename_as(asks(kFirst), locks(), "from", locks(), "to"));
  next_worker();
  EXPECT_TRUE(rename_as(asks(kFirst), locks(), "from", locks(), "to"));
  EXPECT_EQ(at(kAlice, ".locks/to"), file);
  EXPECT_EQ(*read(kAlice, file), "one");
  EXPECT_EQ(data_files(), 1u);
  EXPECT_FALSE(rename_as(asks(kSecond), locks(), "from", locks(), "to"));
}

TEST_F(FsTakeoverTest, WhatBecameABlobIsOne) {
  const NodeId blobs = at(kAlice, repo_ + "/blobs");
  put(kAlice, blobs, "x.incomplete", test::kSmallText);
  arrives(kFirst);
  ASSERT_TRUE(rename_as(asks(kFirst), blobs, "x.incomplete", blobs, test::kSmall));
  next_worker();
  EXPECT_TRUE(rename_as(asks(kFirst), blobs, "x.incomplete", blobs, test::kSmall));
  EXPECT_EQ(*read(kBob, at(kBob, repo_ + "/blobs/" + test::kSmall)), test::kSmallText);
}

// Killed between the store's row and the overlay's.
TEST_F(FsTakeoverTest, WhatTheStoreHasTakenIsABlob) {
  const NodeId blobs = at(kAlice, repo_ + "/blobs");
  put(kAlice, blobs, "x.incomplete", test::kSmallText);
  const NodeId blob = at(kAlice, repo_ + "/blobs/" + test::kSmall);
  std::string taken;
  for (const auto& item : std::filesystem::directory_iterator(*store_->directory("overlay"))) taken = item.path();
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) { store_->import_file(blob.blob_number(), taken, std::move(done)); }));
  next_worker();
  EXPECT_TRUE(rename_as(asks(kFirst), blobs, "x.incomplete", blobs, test::kSmall));
  EXPECT_TRUE(absent(kAlice, repo_ + "/blobs/x.incomplete"));
  EXPECT_EQ(*read(kBob, at(kBob, repo_ + "/blobs/" + test::kSmall)), test::kSmallText);
}

TEST_F(FsTakeoverTest, ARemovedFileThatIsOpenLives) {
  const NodeId file = put(kAlice, locks(), "a.lock", "text");
  ASSERT_TRUE(files_->open_file(user(kAlice), file, O_RDWR));
  is_open(file);
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "a.lock", false));
  next_worker();
  EXPECT_EQ(*read(kAlice, file), "text");
  ASSERT_TRUE(write(kAlice, file, "still"));
  EXPECT_EQ(*read(kAlice, file), "still");
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.links, 0u);
  EXPECT_TRUE(absent(kAlice, ".locks/a.lock"));
  files_->release(file, 0, O_RDWR);
  EXPECT_EQ(code(files_->get_attributes(user(kAlice), file)), Code::stale);
  EXPECT_EQ(data_files(), 0u);
  EXPECT_EQ(metrics_.value(Metric::overlay_nodes), 0);
}

TEST_F(FsTakeoverTest, ARemovedFileThatNobodyHasOpenGoes) {
  const NodeId file = put(kAlice, locks(), "a.lock", "text");
  ASSERT_TRUE(files_->open_file(user(kAlice), file, O_RDWR));
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "a.lock", false));
  next_worker();  // it was not told of it: the machine has started anew
  EXPECT_EQ(code(files_->get_attributes(user(kAlice), file)), Code::stale);
  EXPECT_EQ(data_files(), 0u);
  EXPECT_EQ(metrics_.value(Metric::overlay_nodes), 0);
}

TEST_F(FsTakeoverTest, AReplacedFileThatIsOpenLives) {
  const NodeId old = put(kAlice, locks(), "to", "old");
  ASSERT_TRUE(files_->open_file(user(kAlice), old, O_RDONLY));
  is_open(old);
  put(kAlice, locks(), "from", "new");
  ASSERT_TRUE(rename(kAlice, locks(), "from", locks(), "to"));
  next_worker();
  EXPECT_EQ(*read(kAlice, old), "old");
  EXPECT_EQ(*read(kAlice, at(kAlice, ".locks/to")), "new");
  files_->release(old, 0, O_RDONLY);
  EXPECT_EQ(data_files(), 1u);
}

TEST_F(FsTakeoverTest, ARefThatIsBeingWrittenIsWrittenToItsEnd) {
  const NodeId refs = at(kAlice, repo_ + "/refs");
  arrives(kFirst);
  const auto made = files_->make_file(asks(kFirst), refs, "new", 0644);
  ASSERT_TRUE(made) << made.error().message;
  ASSERT_TRUE(files_->open_file(user(kAlice), made->node, O_WRONLY));
  is_open(made->node);
  next_worker();
  EXPECT_EQ(files_->make_file(asks(kFirst), refs, "new", 0644)->node, made->node);
  EXPECT_TRUE(write(kAlice, made->node, std::string(40, 'a')));
  files_->release(made->node, 0, O_WRONLY);
  EXPECT_EQ(code(files_->get_attributes(user(kAlice), made->node)), Code::stale);
}

TEST_F(FsTakeoverTest, ChangesThatTheIndexLacksAreMadeUpFor) {
  const NodeId folder = make_directory(kAlice, locks(), "d");
  const NodeId goes = put(kAlice, folder, "goes", "x");
  ASSERT_TRUE(files_->sync(locks()));
  close();
  // What a worker had told it before it ended.
  const fs::OverlayRow link{.number = goes.payload() + 1,
                            .user = kAlice,
                            .group = kAlice,
                            .kind = FileKind::symlink,
                            .mode = 0777,
                            .parent = folder,
                            .name = "link",
                            .target = "goes"};
  const auto change = [](std::uint64_t number, const std::string& value) {
    RecordWriter writer(1);
    writer.u32(1).u64(number).text(value);
    return std::string(std::string_view(writer));
  };
  ASSERT_TRUE(handover_->add_change(0, change(link.number, fs::encode(link))));
  ASSERT_TRUE(handover_->add_change(0, change(goes.payload(), "")));
  handover_ = memory_.next();
  open();
  EXPECT_EQ(names(kAlice, folder), std::vector<std::string>{"link"});
  EXPECT_EQ(*files_->read_link(user(kAlice), at(kAlice, ".locks/d/link")), "goes");
  EXPECT_EQ(data_files(), 0u);
  EXPECT_TRUE(handover_->changes().empty());
  next_worker();
  EXPECT_EQ(names(kAlice, folder), std::vector<std::string>{"link"});
}

}  // namespace
}  // namespace hffs
