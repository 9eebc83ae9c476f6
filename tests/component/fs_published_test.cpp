// SPDX-License-Identifier: Apache-2.0
//
// Where the overlay meets what the Hub publishes: refs, marks, private repositories, downloads.
#include "fs_fixture.h"

namespace hffs {
namespace {

using test::FsTest;
using test::kBig;
using test::kCommitA;
using test::kCommitB;
using test::kSmall;
using test::kSmallText;

class PublishedTest : public FsTest {
 protected:
  NodeId repo(uid_t uid) { return at(uid, repo_); }
  NodeId blobs(uid_t uid) { return at(uid, repo_ + "/blobs"); }
  NodeId refs(uid_t uid) { return at(uid, repo_ + "/refs"); }
};

TEST_F(PublishedTest, WhatIsWrittenToARefIsAskedForAndNeverRead) {
  const NodeId main = at(kAlice, repo_ + "/refs/main");
  const int asked = names_.count("revision");
  const auto opened = files_->open_file(user(kAlice), main, O_WRONLY | O_TRUNC);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->direct);
  EXPECT_EQ(*read(kBob, main), kCommitA);
  EXPECT_EQ(*write(kAlice, main, kCommitB), 40u);
  EXPECT_EQ(*read(kAlice, main), kCommitA);
  names_.change([&] { names_.repos["acme/tiny"].refs["main"] = kCommitB; });
  files_->release(main, 0, O_WRONLY | O_TRUNC);
  EXPECT_TRUE(eventually([&] { return names_.count("revision") > asked; }));
  EXPECT_TRUE(eventually([&] { return *read(kAlice, main) == kCommitB; }));
}

TEST_F(PublishedTest, ARefWrittenBesideAndMovedIsAbsorbed) {
  at(kAlice, repo_ + "/refs/main");
  const int asked = names_.count("revision");
  put(kAlice, refs(kAlice), "main.0a.tmp", kCommitB);
  EXPECT_EQ(*read(kAlice, at(kAlice, repo_ + "/refs/main.0a.tmp")), kCommitB);
  EXPECT_TRUE(absent(kBob, repo_ + "/refs/main.0a.tmp"));
  ASSERT_TRUE(rename(kAlice, refs(kAlice), "main.0a.tmp", refs(kAlice), "main"));
  EXPECT_EQ(*read(kAlice, at(kAlice, repo_ + "/refs/main")), kCommitA);
  EXPECT_EQ(names(kAlice, refs(kAlice)), std::vector<std::string>{"main"});
  EXPECT_TRUE(eventually([&] { return names_.count("revision") > asked; }));
}

TEST_F(PublishedTest, ARefThatTheHubLacksCanBeWrittenAndHasNoName) {
  const auto made = files_->make_file(user(kAlice), refs(kAlice), "mine", 0644);
  ASSERT_TRUE(made);
  ASSERT_TRUE(files_->open_file(user(kAlice), made->node, O_WRONLY));
  EXPECT_EQ(*write(kAlice, made->node, kCommitB), 40u);
  EXPECT_EQ(*read(kAlice, made->node), "");
  const int asked = names_.count("revision");
  files_->release(made->node, 0, O_WRONLY);
  EXPECT_TRUE(eventually([&] { return names_.count("revision") > asked; }));
  EXPECT_TRUE(absent(kAlice, repo_ + "/refs/mine"));
  EXPECT_EQ(metrics_.value(Metric::overlay_nodes), 0);
}

TEST_F(PublishedTest, DirectoriesOfRefsAreTheUsersUntilTheHubHasThem) {
  const NodeId team = make_directory(kAlice, refs(kAlice), "team");
  put(kAlice, team, "x.0a.tmp", kCommitA);
  ASSERT_TRUE(rename(kAlice, team, "x.0a.tmp", team, "x"));
  EXPECT_TRUE(absent(kAlice, repo_ + "/refs/team/x"));
  EXPECT_EQ(code(files_->make_link(user(kAlice), team, "l", "x")), Code::refused);
  names_.change([&] { names_.repos["acme/tiny"].refs["team/x"] = kCommitA; });
  EXPECT_EQ(*read(kAlice, at(kAlice, repo_ + "/refs/team/x")), kCommitA);
  EXPECT_EQ(*read(kBob, at(kBob, repo_ + "/refs/team/x")), kCommitA);
}

TEST_F(PublishedTest, AMarkOfOnesOwnTakesThePlaceOfASynthesisedOne) {
  const std::string path = repo_ + "/.no_exist/" + kCommitA + "/added.json";
  const NodeId mark = at(kAlice, path);
  EXPECT_EQ(mark.kind(), NodeKind::absent_file);
  EXPECT_EQ(*read(kAlice, mark), "");
  // The kernel walks again at ESTALE.
  EXPECT_EQ(code(files_->open_file(user(kAlice), mark, O_WRONLY | O_TRUNC)), Code::stale);
  const NodeId own = at(kAlice, path);
  ASSERT_EQ(own.kind(), NodeKind::overlay);
  ASSERT_TRUE(files_->open_file(user(kAlice), own, O_WRONLY));
  ASSERT_TRUE(write(kAlice, own, "mine"));
  files_->release(own, 0, O_WRONLY);
  EXPECT_EQ(*read(kBob, at(kBob, path)), "");
  const std::string other = repo_ + "/.no_exist/" + kCommitA + "/touched.json";
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), at(kAlice, other),
                                        {.modified = WallTime{}})),
            Code::stale);
  EXPECT_EQ(at(kAlice, other).kind(), NodeKind::overlay);
  // A directory that is only synthesised can be touched, and made in.
  const NodeId folder = at(kAlice, repo_ + "/.no_exist/" + kCommitA + "/vae");
  EXPECT_TRUE(files_->set_attributes(user(kAlice), folder, {.modified = WallTime{}}));
  put(kAlice, folder, "README", "");
  EXPECT_EQ(at(kAlice, repo_ + "/.no_exist/" + kCommitA + "/vae/README").kind(),
            NodeKind::overlay);
  EXPECT_NE(at(kBob, repo_ + "/.no_exist/" + kCommitA + "/vae/README").kind(), NodeKind::overlay);
}

TEST_F(PublishedTest, ARepositoryThatTheHubDoesNotShowIsItsMakersOwn) {
  const std::string name = "models--acme--private";
  EXPECT_TRUE(absent(kAlice, name));
  const NodeId top = make_directory(kAlice, kRootNode, name);
  const NodeId blobs_ = make_directory(kAlice, top, "blobs");
  put(kAlice, blobs_, "x.incomplete", "bytes");
  ASSERT_TRUE(rename(kAlice, blobs_, "x.incomplete", blobs_, kBig));
  const NodeId refs_ = make_directory(kAlice, top, "refs");
  put(kAlice, refs_, "main", kCommitB);
  EXPECT_EQ(*read(kAlice, at(kAlice, name + "/refs/main")), kCommitB);
  EXPECT_TRUE(absent(kBob, name));
  EXPECT_EQ(names(kAlice, kRootNode), std::vector<std::string>{name});
  EXPECT_EQ(names(kBob, kRootNode), std::vector<std::string>{});
  EXPECT_EQ(code(rename(kAlice, kRootNode, name, kRootNode, "models--acme--other")),
            Code::refused);
  EXPECT_EQ(at(kAlice, name), top);
  names_.fault = [](const std::string&) -> std::optional<Error> {
    return Error{Code::denied, "forbidden by now", {}};
  };
  EXPECT_EQ(at(kAlice, name), top);
}

// Whether there is something in it or not: what the Hub shows is not hidden for ever.
TEST_F(PublishedTest, ARepositoryOfOnesOwnGivesWayToThePublishedOne) {
  names_.fault = [](const std::string&) -> std::optional<Error> {
    return Error{Code::unreachable, "the Hub is away", {}};
  };
  EXPECT_TRUE(absent(kAlice, repo_));
  const NodeId own = make_directory(kAlice, kRootNode, repo_);  // as huggingface_hub 0.17 does
  make_directory(kAlice, make_directory(kAlice, own, "snapshots"), kCommitA);
  EXPECT_EQ(at(kAlice, repo_), own);
  names_.fault = nullptr;
  EXPECT_EQ(at(kAlice, repo_).kind(), NodeKind::repo);
  EXPECT_EQ(names(kAlice, kRootNode), std::vector<std::string>{repo_});
}

TEST_F(PublishedTest, ADownloadBecomesABlobOnlyIfItsBytesAreRight) {
  at(kAlice, repo_ + "/snapshots/" + kCommitA + "/small.txt");
  const NodeId before = at(kBob, repo_ + "/blobs/" + kSmall);
  std::string wrong = kSmallText;
  wrong[0] ^= 1;
  const NodeId side = put(kAlice, blobs(kAlice), kSmall + ".incomplete", wrong);
  EXPECT_EQ(code(rename(kAlice, blobs(kAlice), kSmall + ".incomplete", blobs(kAlice), kSmall)),
            Code::corrupt);
  EXPECT_EQ(*read(kAlice, side), wrong);
  ASSERT_TRUE(write(kAlice, side, kSmallText));  // it can be written again
  ASSERT_TRUE(files_->open_file(user(kAlice), side, O_RDWR));
  ASSERT_TRUE(rename(kAlice, blobs(kAlice), kSmall + ".incomplete", blobs(kAlice), kSmall));
  EXPECT_EQ(code(write(kAlice, side, "evil")), Code::refused);
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), side, {.size = 0})), Code::refused);
  files_->release(side, 0, O_RDWR);
  EXPECT_TRUE(absent(kAlice, repo_ + "/blobs/" + kSmall + ".incomplete"));
  const NodeId after = at(kBob, repo_ + "/blobs/" + kSmall);
  EXPECT_NE(after, before);
  ASSERT_TRUE(files_->open_file(user(kBob), after, O_RDONLY));
  EXPECT_EQ(*read(kBob, after), kSmallText);
  EXPECT_EQ(bytes_.ranges(), 0);
  files_->release(after, 0, O_RDONLY);
  put(kAlice, blobs(kAlice), "x.incomplete", "x");
  for (const auto& name : {std::string(64, '0'), std::string("model.bin")})
    EXPECT_EQ(code(rename(kAlice, blobs(kAlice), "x.incomplete", blobs(kAlice), name)),
              Code::refused);
}

TEST_F(PublishedTest, WhatTheHubPublishesCannotBeChanged) {
  const NodeId snapshot = at(kAlice, repo_ + "/snapshots/" + kCommitA);
  const NodeId blob = at(kAlice, repo_ + "/blobs/" + kBig);
  EXPECT_EQ(code(files_->make_file(user(kAlice), snapshot, "x", 0644)), Code::refused);
  EXPECT_EQ(code(files_->remove(user(kAlice), snapshot, "small.txt", false)), Code::refused);
  EXPECT_EQ(code(rename(kAlice, snapshot, "small.txt", snapshot, "x")), Code::refused);
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC})
    EXPECT_EQ(code(files_->open_file(user(kAlice), blob, flags)), Code::refused);
  EXPECT_EQ(code(write(kAlice, blob, "x")), Code::refused);
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), blob, {.size = 0})), Code::refused);
  EXPECT_EQ(code(files_->set_attributes(user(kAlice), repo(kAlice), {.mode = 0})), Code::refused);
}

TEST_F(PublishedTest, ListingsHoldBothKindsOnceInPages) {
  at(kAlice, repo_);
  put(kAlice, kRootNode, "vllm.lock", "");
  make_directory(kAlice, kRootNode, "tmpx");
  const std::vector<std::string> all{repo_, "tmpx", "vllm.lock"};
  for (const std::size_t most : {1u, 2u, 3u, 100u}) EXPECT_EQ(names(kAlice, kRootNode, most), all);
  EXPECT_EQ(names(kBob, kRootNode), std::vector<std::string>{repo_});
}

TEST_F(PublishedTest, AnInterruptedLookupAnswersAtOnce) {
  std::promise<void> release;
  auto held = release.get_future().share();
  names_.fault = [held](const std::string&) -> std::optional<Error> {
    held.wait();
    return {};
  };
  std::stop_source stop;
  std::promise<Code> answered;
  files_->lookup(user(kAlice), kRootNode, repo_, stop.get_token(),
                 [&](Result<Entry> entry) { answered.set_value(code(entry)); });
  auto answer = answered.get_future();
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  stop.request_stop();
  EXPECT_EQ(answer.get(), Code::cancelled);
  release.set_value();
  EXPECT_EQ(at(kAlice, repo_).kind(), NodeKind::repo);
  names_.fault = nullptr;
}

}  // namespace
}  // namespace hffs
