// SPDX-License-Identifier: Apache-2.0
//
// The overlay on a real store: each user alone, ordinary file semantics, what a restart keeps.
#include "fs_fixture.h"
#include "overlay.h"

namespace hffs {
namespace {

using test::FsTest;
using test::kCommitA;
using test::Op;

class OverlayTest : public FsTest {};

TEST_F(OverlayTest, TwoUsersHaveTwoFilesOfOneName) {
  const NodeId one = put(kAlice, locks(), "a.lock", "alice");
  EXPECT_TRUE(absent(kBob, ".locks/a.lock"));
  const NodeId two = put(kBob, locks(), "a.lock", "bob");
  EXPECT_NE(one, two);
  EXPECT_EQ(*read(kAlice, at(kAlice, ".locks/a.lock")), "alice");
  EXPECT_EQ(*read(kBob, at(kBob, ".locks/a.lock")), "bob");
  EXPECT_EQ(walk(kBob, ".locks/a.lock")->entry_ttl, Ttl{0});
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "a.lock", false));
  EXPECT_TRUE(absent(kAlice, ".locks/a.lock"));
  EXPECT_EQ(*read(kBob, two), "bob");
}

TEST_F(OverlayTest, AnotherUsersNodeIsOfNoUse) {
  const NodeId file = put(kAlice, locks(), "a.lock", "x");
  const NodeId folder = make_directory(kAlice, locks(), "d");
  EXPECT_EQ(code(files_->open_file(user(kBob), file, O_RDONLY)), Code::denied);
  EXPECT_EQ(code(lookup(kBob, folder, "x")), Code::denied);
  EXPECT_EQ(code(files_->make_file(user(kBob), folder, "x", 0644)), Code::denied);
  EXPECT_EQ(code(files_->set_attributes(user(kBob), file, {.mode = 0})), Code::refused);
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), file, {.owner = kBob})), Code::refused);
  EXPECT_EQ(code(files_->remove(user(kBob), locks(), "a.lock", false)), Code::refused);
}

TEST_F(OverlayTest, OrdinarySemantics) {
  const NodeId top = make_directory(kAlice, locks(), "d");
  EXPECT_EQ(code(files_->make_directory(user(kAlice), locks(), "d", 0755)), Code::exists);
  put(kAlice, top, "file", "0123456789");
  EXPECT_EQ(code(files_->make_file(user(kAlice), top, "file", 0644)), Code::exists);
  EXPECT_EQ(code(files_->remove(user(kAlice), locks(), "d", true)), Code::not_empty);
  EXPECT_EQ(code(files_->remove(user(kAlice), locks(), "d", false)), Code::is_directory);
  EXPECT_EQ(code(files_->remove(user(kAlice), top, "file", true)), Code::not_directory);
  EXPECT_EQ(code(files_->remove(user(kAlice), top, "none", false)), Code::not_found);
  const NodeId file = at(kAlice, ".locks/d/file");
  ASSERT_TRUE(files_->set_attributes(user(kAlice), file, {.size = 4}));
  EXPECT_EQ(*read(kAlice, file), "0123");
  ASSERT_TRUE(write(kAlice, file, "x", 6));
  EXPECT_EQ(*read(kAlice, file), std::string("0123\0\0x", 7));
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.size, 7u);
  const WallTime time{std::chrono::seconds(1'234)};
  const auto changed =
      files_->set_attributes(user(kAlice), file, {.mode = 0600, .modified = time});
  EXPECT_EQ(changed->attr.mode, 0600u);
  EXPECT_EQ(changed->attr.modified, time);
  const auto link = files_->make_link(user(kAlice), top, "link", "file");
  EXPECT_EQ(*files_->read_link(user(kAlice), link->node), "file");
  EXPECT_EQ(link->attr.size, 4u);
  EXPECT_EQ(names(kAlice, top, 1), (std::vector<std::string>{"file", "link"}));
}

TEST_F(OverlayTest, Moves) {
  const NodeId a = make_directory(kAlice, locks(), "a");
  const NodeId b = make_directory(kAlice, a, "b");
  const NodeId file = put(kAlice, a, "file", "one");
  put(kAlice, b, "other", "two");
  EXPECT_EQ(code(rename(kAlice, a, "none", a, "x")), Code::refused);
  EXPECT_EQ(code(rename(kAlice, locks(), "a", b, "x")), Code::invalid);
  EXPECT_EQ(code(rename(kAlice, a, "file", a, "b")), Code::is_directory);
  EXPECT_EQ(code(rename(kAlice, a, "b", a, "file")), Code::not_directory);
  EXPECT_EQ(code(rename(kAlice, a, "file", b, "other", 1)), Code::exists);
  EXPECT_EQ(code(rename(kAlice, a, "file", b, "other", 2)), Code::invalid);  // RENAME_EXCHANGE
  ASSERT_TRUE(rename(kAlice, a, "file", b, "other"));
  EXPECT_EQ(at(kAlice, ".locks/a/b/other"), file);
  EXPECT_EQ(*read(kAlice, file), "one");
  EXPECT_EQ(data_files(), 1u);
  ASSERT_TRUE(rename(kAlice, a, "b", locks(), "c"));
  EXPECT_EQ(at(kAlice, ".locks/c/other"), file);
  EXPECT_EQ(names(kAlice, a), std::vector<std::string>{});
}

TEST_F(OverlayTest, ARemovedFileLivesWhileItIsOpen) {
  const NodeId file = put(kAlice, locks(), "a.lock", "text");
  ASSERT_TRUE(files_->open_file(user(kAlice), file, O_RDWR));
  ASSERT_TRUE(files_->open_file(user(kAlice), file, O_RDONLY));
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "a.lock", false));
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.links, 0u);
  EXPECT_EQ(*read(kAlice, file), "text");
  ASSERT_TRUE(write(kAlice, file, "still"));
  files_->release(file, 0, O_RDWR);
  EXPECT_EQ(*read(kAlice, file), "still");
  files_->release(file, 0, O_RDONLY);
  EXPECT_EQ(code(files_->get_attributes(user(kAlice), file)), Code::stale);
  EXPECT_EQ(data_files(), 0u);
  EXPECT_EQ(metrics_.value(Metric::overlay_nodes), 0);
}

TEST_F(OverlayTest, ARestartKeepsEverythingAndSweepsOrphans) {
  const NodeId folder = make_directory(kAlice, locks(), "d");
  const NodeId file = put(kAlice, folder, "file", "text");
  put(kAlice, folder, "gone", "x");
  ASSERT_TRUE(files_->set_attributes(user(kAlice), file, {.mode = 0640}));
  ASSERT_TRUE(files_->make_link(user(kAlice), folder, "link", "file"));
  ASSERT_TRUE(rename(kAlice, folder, "file", folder, "moved"));
  ASSERT_TRUE(files_->remove(user(kAlice), folder, "gone", false));
  const std::string orphan = *store_->directory("overlay") + "/00000000000abcde";
  ASSERT_TRUE(system_disk().open(orphan, O_CREAT | O_WRONLY, 0600));
  reopen();
  EXPECT_FALSE(std::filesystem::exists(orphan));
  EXPECT_EQ(at(kAlice, ".locks/d/moved"), file);
  EXPECT_EQ(*read(kAlice, file), "text");
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.mode, 0640u);
  EXPECT_EQ(*files_->read_link(user(kAlice), at(kAlice, ".locks/d/link")), "file");
  EXPECT_EQ(names(kAlice, folder), (std::vector<std::string>{"link", "moved"}));
  EXPECT_EQ(metrics_.value(Metric::overlay_nodes), 3);
  // Numbers of an earlier life are not used again.
  EXPECT_GT(put(kAlice, folder, "new", "").value, file.value);
}

TEST_F(OverlayTest, ALostDataFileIsAnEmptyFile) {
  const NodeId file = put(kAlice, locks(), "a.lock", "text");
  close();
  for (const auto& item : std::filesystem::directory_iterator(directory_ + "/hffs-v1/overlay"))
    std::filesystem::remove(item.path());
  open();
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.size, 0u);
  ASSERT_TRUE(files_->open_file(user(kAlice), file, O_RDWR));
  EXPECT_EQ(*write(kAlice, file, "new"), 3u);
  EXPECT_EQ(*read(kAlice, file), "new");
  files_->release(file, 0, O_RDWR);
}

TEST_F(OverlayTest, AUserHasAQuota) {
  close();
  options_.overlay_bytes_per_user = 2 * fs::kNodeBytes + 100;
  open();
  const NodeId file = put(kAlice, locks(), "a.lock", std::string(60, 'x'));
  const NodeId other = put(kAlice, locks(), "b.lock", "");
  EXPECT_EQ(code(write(kAlice, other, std::string(41, 'y'))), Code::over_quota);
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), other, {.size = 41})), Code::over_quota);
  EXPECT_EQ(files_->get_attributes(user(kAlice), other)->attr.size, 0u);
  EXPECT_TRUE(write(kAlice, other, std::string(40, 'y')));
  EXPECT_TRUE(write(kAlice, file, "over what is there"));
  put(kBob, locks(), "b.lock", std::string(100, 'z'));
  EXPECT_EQ(code(files_->make_directory(user(kAlice), locks(), "d", 0755)), Code::over_quota);
  EXPECT_EQ(code(files_->make_file(user(kAlice), locks(), "c.lock", 0644)), Code::over_quota);
  EXPECT_TRUE(absent(kAlice, ".locks/c.lock"));
  reopen();
  EXPECT_EQ(code(write(kAlice, other, "more", 40)), Code::over_quota);
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "a.lock", false));
  EXPECT_TRUE(write(kAlice, other, "more", 40));
}

TEST_F(OverlayTest, AUserHasSoManyFilesAndGetsThemBackByRemoving) {
  close();
  options_.overlay_files_per_user = 2;
  options_.own = kBob;
  open();
  put(kAlice, locks(), "a.lock", "text");
  ASSERT_TRUE(files_->make_directory(user(kAlice), locks(), "d", 0755));
  EXPECT_EQ(code(files_->make_file(user(kAlice), locks(), "c.lock", 0644)), Code::over_quota);
  reopen();
  EXPECT_EQ(code(files_->make_file(user(kAlice), locks(), "c.lock", 0644)), Code::over_quota);
  ASSERT_TRUE(files_->remove(user(kAlice), locks(), "d", true));
  put(kAlice, locks(), "c.lock", "");
  EXPECT_EQ(code(files_->make_file(user(kAlice), locks(), "e.lock", 0644)), Code::over_quota);
  for (const char* name : {"a.lock", "b.lock", "c.lock"}) put(kBob, locks(), name, "");
}

TEST_F(OverlayTest, AFullDiskIsTheWritersErrorAndTheSizeStaysTrue) {
  const NodeId file = put(kAlice, locks(), "a.lock", "1234");
  fault_ = [](Op op, const std::string&) -> Result<void> {
    if (op == Op::write) return fail(Code::no_space, "the disk is full");
    return {};
  };
  EXPECT_EQ(code(write(kAlice, file, std::string(1'000, 'x'), 4)), Code::no_space);
  EXPECT_EQ(files_->get_attributes(user(kAlice), file)->attr.size, 504u);  // the half that was written
  fault_ = [](Op op, const std::string&) -> Result<void> {
    if (op == Op::open) return fail(Code::no_space, "the disk is full");
    return {};
  };
  EXPECT_EQ(code(files_->make_file(user(kAlice), locks(), "b.lock", 0644)), Code::no_space);
  EXPECT_TRUE(absent(kAlice, ".locks/b.lock"));
}

TEST_F(OverlayTest, SyncTellsAFailure) {
  const NodeId file = put(kAlice, locks(), "a.lock", "1234");
  EXPECT_TRUE(files_->sync(file));
  fault_ = [](Op op, const std::string&) -> Result<void> {
    if (op == Op::sync_data) return fail(Code::io, "the disk failed");
    return {};
  };
  EXPECT_EQ(code(files_->sync(file)), Code::io);
}

TEST_F(OverlayTest, ManyThreadsInOneDirectory) {
  constexpr int kThreads = 4, kRounds = 50;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const std::string name = fmt::format("{}-{}.lock", t, i);
        const auto made = files_->make_file(user(kAlice), locks(), name, 0644);
        ASSERT_TRUE(made);
        ASSERT_TRUE(files_->open_file(user(kAlice), made->node, O_RDWR));
        ASSERT_TRUE(write(kAlice, made->node, name));
        (void)files_->make_file(user(kAlice), locks(), "shared", 0644);
        (void)files_->remove(user(kAlice), locks(), "shared", false);
        ASSERT_EQ(*read(kAlice, made->node), name);
        files_->release(made->node, 0, O_RDWR);
        if (i % 2 == 0) {
          ASSERT_TRUE(files_->remove(user(kAlice), locks(), name, false));
        }
      }
    });
  for (auto& thread : threads) thread.join();
  (void)files_->remove(user(kAlice), locks(), "shared", false);
  EXPECT_EQ(names(kAlice, locks(), 7).size(), kThreads * kRounds / 2u);
  EXPECT_EQ(data_files(), kThreads * kRounds / 2u);
}

}  // namespace
}  // namespace hffs
