// SPDX-License-Identifier: Apache-2.0
//
// The catalog over a real store and an origin in memory: what is asked, how often, and what stays
// known.
#include "hffs/catalog.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "fake_origin.h"
#include "hffs/pins.h"
#include "hffs/record.h"
#include "hffs/versions.h"
#include "index.h"
#include "wait.h"

namespace hffs {
namespace {

using test::wait_for;

const std::string kCommitA(40, 'a'), kCommitB(40, 'b');

TreeEntry file(const std::string& path, char digit = '1', std::uint64_t size = 100) {
  return {.kind = TreeEntry::Kind::file,
          .path = path,
          .size = size,
          .blob = *BlobId::parse(std::string(40, digit))};
}

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hffs-catalog-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    origin_.repos["acme/tiny"] = {
        .refs = {{"main", kCommitA}, {"refs/pr/1", kCommitB}, {"feature/x", kCommitB}},
        .trees = {{kCommitA, {file("config.json"), file("sub/deep/x.bin", '2', 5'000'000)}},
                  {kCommitB, {file("config.json", '3')}}}};
    open();
  }
  ~CatalogTest() override {
    close();
    std::filesystem::remove_all(directory_);
  }

  void open() {
    auto store = Store::open({.state_dir = directory_}, system_disk(), system_clock(), metrics_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    auto catalog = Catalog::open(options_, origin_, *store_, *access_, system_clock(), metrics_);
    ASSERT_TRUE(catalog);
    catalog_ = std::move(*catalog);
  }
  void close() {
    catalog_.reset();
    store_.reset();
  }
  void reopen() {
    close();
    open();
  }

  Result<Entry> lookup(NodeId parent, const std::string& name) {
    return wait_for<Entry>(
        [&](Done<Entry> done) { catalog_->lookup(Caller{}, parent, name, std::move(done)); });
  }
  // Walks a path from the root.
  Result<Entry> walk(const std::string& path) {
    Result<Entry> entry = Entry{.node = kRootNode};
    std::size_t begin = 0;
    while (begin <= path.size()) {
      const std::size_t slash = std::min(path.find('/', begin), path.size());
      entry = lookup(entry->node, path.substr(begin, slash - begin));
      if (!entry || entry->node.value == 0) return entry;
      begin = slash + 1;
    }
    return entry;
  }
  std::set<std::string> names(NodeId directory, std::size_t most = 1'000) {
    std::set<std::string> found;
    std::uint64_t cookie = 0;
    while (true) {
      auto items = wait_for<std::vector<DirItem>>(
          [&](auto done) { catalog_->list(Caller{}, directory, cookie, most, std::move(done)); });
      EXPECT_TRUE(items) << items.error().message;
      if (!items) return found;
      for (const auto& item : *items) EXPECT_TRUE(found.insert(item.name).second) << item.name;
      if (items->size() < most) return found;
      cookie = items->back().cookie;
    }
  }
  // Until the ref says so.
  bool reads(NodeId ref, const std::string& commit) {
    for (int i = 0; i < 200 && *catalog_->read_text(ref) != commit; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return *catalog_->read_text(ref) == commit;
  }
  static bool absent(const Result<Entry>& entry) {
    return entry ? entry->node.value == 0 : entry.error().code == Code::not_found;
  }

  Metrics metrics_;
  test::FakeOrigin origin_;
  std::string directory_;
  CatalogOptions options_{.ref_ttl = std::chrono::hours(1), .missing_ttl = std::chrono::hours(1)};
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(CatalogTest, FirstUseCostsTwoCallsAndThenNone) {
  const auto pointer = walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json");
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->attr.kind, FileKind::symlink);
  EXPECT_EQ(*catalog_->read_link(pointer->node), "../../blobs/" + std::string(40, '1'));
  EXPECT_EQ(pointer->attr.size, catalog_->read_link(pointer->node)->size());
  EXPECT_EQ(origin_.total(), 2);
  const auto deep = walk("models--acme--tiny/snapshots/" + kCommitA + "/sub/deep/x.bin");
  ASSERT_TRUE(deep);
  EXPECT_EQ(*catalog_->read_link(deep->node), "../../../../blobs/" + std::string(40, '2'));
  EXPECT_EQ(deep->attr.size, catalog_->read_link(deep->node)->size());
  EXPECT_TRUE(walk("models--acme--tiny/refs/main"));
  EXPECT_TRUE(walk("models--acme--tiny/blobs/" + std::string(40, '2')));
  EXPECT_EQ(origin_.total(), 2);
}

// One user who may come in, one who may not, and how long a pass is good for whoever comes.
class Doorkeeper final : public AccessControl {
 public:
  static constexpr uid_t kAllowed = 1;
  explicit Doorkeeper(std::chrono::milliseconds for_everybody) : for_everybody_(for_everybody) {}
  void decide(const Caller& caller, const RepoId&, Done<Pass> done) override {
    if (caller.uid != kAllowed) return done(fail(Code::not_found, "not for you"));
    done(Pass{for_everybody_});
  }
  bool sees(const Caller& caller, const RepoId&) override { return caller.uid == kAllowed; }
  bool is_open(const RepoId&) override { return for_everybody_.count() > 0; }

 private:
  std::chrono::milliseconds for_everybody_;
};

TEST_F(CatalogTest, TheKernelAsksAtTheGateUnlessEverybodyMayPass) {
  for (const auto passes : {std::chrono::milliseconds(0), std::chrono::milliseconds(700)}) {
    close();
    access_ = std::make_unique<Doorkeeper>(passes);
    open();
    const auto ask = [&](uid_t user, NodeId parent = kRootNode,
                         std::string_view name = "models--acme--tiny") {
      return wait_for<Entry>([&](Done<Entry> done) {
        catalog_->lookup(Caller{.uid = user}, parent, name, std::move(done));
      });
    };
    const auto repo = ask(Doorkeeper::kAllowed);
    ASSERT_TRUE(repo);
    EXPECT_EQ(repo->entry_ttl, passes);
    EXPECT_TRUE(absent(ask(2)));
    EXPECT_GT(ask(Doorkeeper::kAllowed, repo->node, "snapshots")->entry_ttl, std::chrono::minutes(1));
    EXPECT_TRUE(absent(ask(2, repo->node, "snapshots"))) << "through a directory that is open";
    const auto admit = [&](uid_t user) {
      return wait_for<void>([&](Done<void> done) {
        catalog_->admit(Caller{.uid = user}, repo->node, std::move(done));
      });
    };
    EXPECT_TRUE(admit(Doorkeeper::kAllowed));
    EXPECT_EQ(admit(2).error().code, Code::not_found);
    EXPECT_FALSE(catalog_->sees(Caller{.uid = 2}, repo->node));
  }
}

TEST_F(CatalogTest, IdsAndContentSurviveAReopenWithoutACall) {
  const auto before = walk("models--acme--tiny/snapshots/" + kCommitA + "/sub/deep");
  const auto ref = walk("models--acme--tiny/refs/main");
  ASSERT_TRUE(before && ref);
  const int calls = origin_.total();
  reopen();
  EXPECT_EQ(walk("models--acme--tiny/snapshots/" + kCommitA + "/sub/deep")->node, before->node);
  EXPECT_EQ(*catalog_->read_text(ref->node), kCommitA);
  EXPECT_EQ(origin_.count("tree"), 1);
  EXPECT_GE(origin_.total(), calls);  // the ref, unconfirmed since the restart, is asked again
}

TEST_F(CatalogTest, BadNamesAskNobody) {
  for (const char* name : {"blobs", "models--", "tmpabc", "x.lock", "models--a--b--c", ".cache"})
    EXPECT_TRUE(absent(lookup(kRootNode, name))) << name;
  EXPECT_EQ(origin_.total(), 0);
  const auto refs = walk("models--acme--tiny/refs");
  ASSERT_TRUE(refs);
  const int calls = origin_.total();
  for (const auto& name : {kCommitA, std::string("main.abc.tmp"), std::string("tmp1")})
    EXPECT_TRUE(absent(lookup(refs->node, name))) << name;
  EXPECT_EQ(origin_.total(), calls);
}

TEST_F(CatalogTest, AMissingRepositoryIsBelievedForAWhile) {
  EXPECT_TRUE(absent(walk("models--acme--nothing")));
  EXPECT_TRUE(absent(walk("models--acme--nothing")));
  EXPECT_EQ(origin_.total(), 1);
}

TEST_F(CatalogTest, AFailureToAskIsNotBelieved) {
  origin_.fault = [](const std::string&) { return Error{Code::unreachable, "down", {}}; };
  EXPECT_TRUE(absent(walk("models--acme--tiny")));
  origin_.fault = nullptr;
  EXPECT_TRUE(walk("models--acme--tiny"));
}

TEST_F(CatalogTest, KnownThingsStayWhileTheOriginIsDown) {
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  origin_.fault = [](const std::string&) { return Error{Code::unreachable, "down", {}}; };
  reopen();
  EXPECT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  const auto ref = walk("models--acme--tiny/refs/main");
  ASSERT_TRUE(ref);
  EXPECT_EQ(*catalog_->read_text(ref->node), kCommitA);
}

TEST_F(CatalogTest, NestedRefs) {
  const auto pr = walk("models--acme--tiny/refs/refs/pr/1");
  ASSERT_TRUE(pr);
  EXPECT_EQ(*catalog_->read_text(pr->node), kCommitB);
  const auto branch = walk("models--acme--tiny/refs/feature/x");
  ASSERT_TRUE(branch);
  EXPECT_EQ(*catalog_->read_text(branch->node), kCommitB);
  EXPECT_TRUE(absent(walk("models--acme--tiny/refs/nothing/x")));
  const auto refs = walk("models--acme--tiny/refs");
  EXPECT_EQ(names(refs->node), (std::set<std::string>{"main", "refs", "feature"}));
  EXPECT_EQ(names(walk("models--acme--tiny/refs/refs/pr")->node), std::set<std::string>{"1"});
  EXPECT_EQ(names(walk("models--acme--tiny/snapshots")->node),
            (std::set<std::string>{kCommitA, kCommitB}));
}

TEST_F(CatalogTest, AMovedRefIsServedStaleAndRefreshedBehind) {
  options_.ref_ttl = std::chrono::milliseconds(0);
  reopen();
  const auto ref = walk("models--acme--tiny/refs/main");
  ASSERT_TRUE(ref);
  origin_.change([&] { origin_.repos["acme/tiny"].refs["main"] = kCommitB; });
  catalog_->refresh_ref(ref->node, "");
  EXPECT_TRUE(reads(ref->node, kCommitB));
  EXPECT_EQ(walk("models--acme--tiny/refs/main")->node, ref->node);
  // With a ttl of 0 every look asks behind the reader: answered before the store goes.
  catalog_.reset();
  origin_.change([] {});
}

TEST_F(CatalogTest, ACommitThatNoRefNames) {
  const std::string historical(40, 'c');
  origin_.repos["acme/tiny"].trees[historical] = {file("old.json", '4')};
  EXPECT_TRUE(walk("models--acme--tiny/snapshots/" + historical + "/old.json"));
  EXPECT_TRUE(absent(walk("models--acme--tiny/snapshots/" + std::string(40, 'd'))));
  EXPECT_TRUE(names(walk("models--acme--tiny/snapshots")->node).contains(historical));
}

TEST_F(CatalogTest, RevisionLinks) {
  const auto link = walk("models--acme--tiny/snapshots/main");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->attr.kind, FileKind::symlink);
  EXPECT_EQ(*catalog_->read_link(link->node), kCommitA);
  EXPECT_EQ(names(walk("models--acme--tiny/snapshots")->node), std::set<std::string>{kCommitA});
}

TEST_F(CatalogTest, NoExistIsTheComplementOfTheTree) {
  const std::string base = "models--acme--tiny/.no_exist/" + kCommitA;
  EXPECT_EQ(walk(base + "/added_tokens.json")->attr.kind, FileKind::regular);
  EXPECT_EQ(walk(base + "/added_tokens.json")->attr.size, 0u);
  EXPECT_TRUE(absent(walk(base + "/config.json")));
  EXPECT_EQ(walk(base + "/vae")->attr.kind, FileKind::directory);
  EXPECT_EQ(walk(base + "/vae/x.json")->attr.kind, FileKind::regular);
  EXPECT_EQ(walk(base + "/sub/deep/y.bin")->attr.kind, FileKind::regular);
  EXPECT_TRUE(absent(walk(base + "/sub/deep/x.bin")));
  EXPECT_EQ(walk(base + "/added_tokens.json")->node, walk(base + "/added_tokens.json")->node);
}

// Whoever goes deeper and deeper below .no_exist has nothing remembered for it beyond a path's length.
TEST_F(CatalogTest, APathThatIsAbsentHasAnEnd) {
  auto at = walk("models--acme--tiny/.no_exist/" + kCommitA);
  ASSERT_TRUE(at);
  std::size_t bytes = 0;
  for (int level = 0; level < 100; ++level) {
    at = lookup(at->node, std::string(200, 'd'));
    if (absent(at)) break;
    bytes += 201;
  }
  EXPECT_TRUE(absent(at));
  EXPECT_GT(bytes, 3'000u);
  EXPECT_LE(bytes, 4'001u);
}

TEST_F(CatalogTest, AListingThatFailedIsBegunAgain) {
  std::vector<TreeEntry> many;
  for (int i = 0; i < 40; ++i) many.push_back(file(fmt::format("f{:02}", i)));
  origin_.repos["acme/large"] = {.refs = {{"main", kCommitB}}, .trees = {{kCommitB, many}}};
  origin_.page_size = 2;
  const std::string snapshot = "models--acme--large/snapshots/" + kCommitB;
  ASSERT_TRUE(walk(snapshot + "/f00"));
  const int before = origin_.count("tree");
  origin_.change([&] {
    origin_.fault = [](const std::string& call) -> std::optional<Error> {
      if (call != "tree") return {};
      return Error{Code::unreachable, "down", {}};
    };
  });
  for (int i = 30; i < 38; ++i) ASSERT_TRUE(walk(fmt::format("{}/f{:02}", snapshot, i)));
  for (int i = 0; i < 200 && origin_.count("tree") == before; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GT(origin_.count("tree"), before);
  origin_.change([&] { origin_.fault = nullptr; });
  for (int i = 20; i < 28; ++i) ASSERT_TRUE(walk(fmt::format("{}/f{:02}", snapshot, i)));
  for (int i = 0; i < 400 && catalog_->usage().files < many.size(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(catalog_->usage().files, many.size());
}

// Trees are read for a blob's name one after the other; a commit that the Hub has no more ends that not.
TEST_F(CatalogTest, ACommitThatIsGoneHidesNoBlob) {
  const std::string gone(40, '0'), later(40, 'c');
  origin_.repos["acme/tiny"].refs["gone"] = gone;
  origin_.repos["acme/tiny"].refs["later"] = later;
  origin_.repos["acme/tiny"].trees[later] = {file("new.bin", '7')};
  for (const char* ref : {"main", "gone", "later"})
    ASSERT_TRUE(walk(std::string("models--acme--tiny/refs/") + ref));
  EXPECT_FALSE(absent(walk("models--acme--tiny/blobs/" + std::string(40, '7'))));
  EXPECT_TRUE(absent(walk("models--acme--tiny/blobs/" + std::string(40, '8'))));
  const int asked = origin_.total();
  EXPECT_TRUE(absent(walk("models--acme--tiny/blobs/" + std::string(40, '9'))));
  EXPECT_EQ(origin_.total(), asked);
}

TEST_F(CatalogTest, ALargeTreeAnswersOnePathAndListsAll) {
  origin_.page_size = 10;
  auto& tree = origin_.repos["acme/tiny"].trees[kCommitA];
  for (int i = 0; i < 95; ++i) tree.push_back(file(fmt::format("data/{:03}.json", i)));
  const std::string base = "models--acme--tiny/snapshots/" + kCommitA;
  EXPECT_TRUE(walk(base + "/data/094.json"));
  EXPECT_EQ(origin_.count("tree"), 1);
  EXPECT_TRUE(absent(walk(base + "/data/nothing.json")));
  EXPECT_EQ(origin_.count("tree"), 1);
  EXPECT_EQ(names(walk(base + "/data")->node, 7).size(), 95u);
  EXPECT_EQ(origin_.count("tree"), 10);
  EXPECT_EQ(names(walk(base)->node), (std::set<std::string>{"config.json", "data", "sub"}));
  const int calls = origin_.total();
  EXPECT_TRUE(absent(walk(base + "/data/nothing2.json")));
  EXPECT_EQ(origin_.total(), calls);
}

TEST_F(CatalogTest, AListingGoesOnAfterARateLimitAndARestart) {
  origin_.page_size = 10;
  auto& tree = origin_.repos["acme/tiny"].trees[kCommitA];
  for (int i = 0; i < 45; ++i) tree.push_back(file(fmt::format("{:03}.json", i)));
  const std::string base = "models--acme--tiny/snapshots/" + kCommitA;
  ASSERT_TRUE(walk(base + "/config.json"));
  int limited = 1;
  origin_.fault = [&](const std::string& call) -> std::optional<Error> {
    if (call != "tree" || limited-- <= 0) return {};
    return Error{Code::rate_limited, "slow down", std::chrono::milliseconds(50)};
  };
  reopen();
  EXPECT_EQ(names(walk(base)->node).size(), 47u);
  EXPECT_EQ(origin_.count("tree"), 6);  // five pages, one of them twice
}

TEST_F(CatalogTest, OneContentIsOneBlobInAllRepositories) {
  origin_.repos["acme/other"] = {.refs = {{"main", kCommitB}},
                                 .trees = {{kCommitB, {file("same.json", '1')}}}};
  const std::string hex(40, '1');
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  ASSERT_TRUE(walk("models--acme--other/snapshots/" + kCommitB + "/same.json"));
  const auto one = walk("models--acme--tiny/blobs/" + hex);
  const auto two = walk("models--acme--other/blobs/" + hex);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->attr.inode, two->attr.inode);
  EXPECT_TRUE(absent(walk("models--acme--other/blobs/" + std::string(40, '2'))));
}

TEST_F(CatalogTest, AWrongSizeDoesNotPoisonAnotherRepository) {
  origin_.repos["evil/x"] = {.refs = {{"main", kCommitB}},
                             .trees = {{kCommitB, {file("same.json", '1', 7)}}}};
  ASSERT_TRUE(walk("models--evil--x/snapshots/" + kCommitB + "/same.json"));
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  EXPECT_EQ(walk("models--acme--tiny/blobs/" + std::string(40, '1'))->attr.size, 100u);
  EXPECT_EQ(walk("models--evil--x/blobs/" + std::string(40, '1'))->attr.size, 7u);
}

TEST_F(CatalogTest, ARenamedRepositoryKeepsTheNameAskedFor) {
  origin_.repos["old/name"] = {.refs = {{"main", kCommitA}}, .canonical = "acme/tiny"};
  ASSERT_TRUE(walk("models--old--name/snapshots/" + kCommitA + "/config.json"));
  EXPECT_TRUE(names(kRootNode).contains("models--old--name"));
  EXPECT_FALSE(names(kRootNode).contains("models--acme--tiny"));
}

TEST_F(CatalogTest, ManyAskersOneCall) {
  std::atomic<int> left = 50;
  for (int i = 0; i < 50; ++i)
    catalog_->lookup(Caller{}, kRootNode, "models--acme--tiny", [&](Result<Entry> entry) {
      EXPECT_TRUE(entry);
      --left;
    });
  for (int i = 0; i < 500 && left > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(left, 0);
  EXPECT_EQ(origin_.total(), 1);
}

TEST_F(CatalogTest, SourceOfABlob) {
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  const auto blob = walk("models--acme--tiny/blobs/" + std::string(40, '2'));
  ASSERT_TRUE(blob);
  const auto sources = catalog_->sources_of(blob->node.blob_number());
  ASSERT_TRUE(sources);
  ASSERT_EQ(sources->size(), 1u);
  EXPECT_EQ(sources->front().path, "sub/deep/x.bin");
  EXPECT_EQ(sources->front().commit.hex(), kCommitA);
  EXPECT_EQ(sources->front().size, 5'000'000u);
}

TEST_F(CatalogTest, ABlobCanBeHadFromEveryRepositoryAndCommitThatHasIt) {
  const std::string hex(40, '1'), later(40, 'e');
  auto& tiny = origin_.repos["acme/tiny"];
  tiny.trees[later] = {file("renamed.json", '1')};
  origin_.repos["acme/other"] = {.refs = {{"main", kCommitB}},
                                 .trees = {{kCommitB, {file("same.json", '1')}}}};
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/config.json"));
  const auto time = walk("models--acme--tiny/blobs/" + hex)->attr.modified;
  ASSERT_TRUE(walk("models--acme--other/snapshots/" + kCommitB + "/same.json"));
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + later + "/renamed.json"));
  const auto blob = walk("models--acme--tiny/blobs/" + hex);
  ASSERT_TRUE(blob);
  reopen();
  const auto sources = catalog_->sources_of(blob->node.blob_number());
  ASSERT_TRUE(sources);
  std::vector<std::string> places;
  for (const auto& source : *sources)
    places.push_back(source.repo.text() + '@' + source.commit.hex().substr(0, 1) + ' ' +
                     source.path);
  EXPECT_EQ(places, (std::vector<std::string>{"acme/tiny@e renamed.json",
                                              "acme/other@b same.json",
                                              "acme/tiny@a config.json"}));
  EXPECT_EQ(blob->attr.modified, time);
}

TEST_F(CatalogTest, AnOldNameThatIsGivenAwayIsItsNewOwners) {
  origin_.repos["old/name"] = {.refs = {{"main", kCommitA}}, .canonical = "acme/tiny"};
  const auto ref = walk("models--old--name/refs/main");
  ASSERT_TRUE(ref);
  EXPECT_EQ(*catalog_->read_text(ref->node), kCommitA);
  const std::string other(40, 'e');
  origin_.repos["old/name"] = {.refs = {{"main", other}}, .trees = {{other, {file("new.json")}}}};
  catalog_->refresh_ref(ref->node, "");
  EXPECT_TRUE(reads(ref->node, other));
  EXPECT_TRUE(walk("models--old--name/snapshots/" + other + "/new.json"));
}

TEST_F(CatalogTest, WhateverTheHubAnswersALookupIsAbsenceAtWorst) {
  Code code = Code::bug;
  origin_.fault = [&](const std::string&) { return Error{code, "no", {}}; };
  for (const Code each : {Code::invalid, Code::unsupported, Code::needs_login, Code::timed_out,
                          Code::rate_limited, Code::offline, Code::corrupt}) {
    code = each;
    const auto entry = walk("models--acme--tiny");
    ASSERT_FALSE(entry);
    EXPECT_EQ(entry.error().code, Code::not_found) << info(each).name;
  }
  origin_.fault = nullptr;
  EXPECT_TRUE(walk("models--acme--tiny"));
}

TEST_F(CatalogTest, ANotFoundThatProvesNothingIsBelievedForAMoment) {
  origin_.page_size = 1;
  const std::string base = "models--acme--tiny/snapshots/" + kCommitA;
  ASSERT_TRUE(walk(base + "/config.json"));
  origin_.fault = [](const std::string& call) -> std::optional<Error> {
    if (call != "paths") return {};
    return Error{Code::not_found, "404", {}};
  };
  for (int i = 0; i < 3; ++i) {
    const auto entry = walk(base + "/sub");
    ASSERT_FALSE(entry) << "the kernel would keep it";
    EXPECT_EQ(entry.error().code, Code::not_found);
  }
  EXPECT_EQ(origin_.count("paths"), 1);
  origin_.fault = nullptr;
  options_.missing_ttl = std::chrono::milliseconds(0);
  reopen();
  EXPECT_TRUE(walk(base + "/sub/deep/x.bin"));
}

TEST_F(CatalogTest, AWrittenRefIsAskedForAfterTheWrite) {
  const auto ref = walk("models--acme--tiny/refs/main");
  ASSERT_TRUE(ref);
  std::atomic<bool> held = false, released = false;
  origin_.on_the_way = [&](const std::string&) {
    held = true;
    while (!released) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  const int calls = origin_.count("revision");
  catalog_->refresh_ref(ref->node, "");
  while (!held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  // The old value travels already when the ref moves.
  origin_.repos["acme/tiny"].refs["main"] = kCommitB;
  for (int i = 0; i < 5; ++i) catalog_->refresh_ref(ref->node, "");
  released = true;
  EXPECT_TRUE(reads(ref->node, kCommitB));
  EXPECT_EQ(origin_.count("revision"), calls + 2) << "one more, however many wrote";
}

// A byte that no program has written there means nothing, and not the last thing that was tested for.
TEST_F(CatalogTest, ARowOfAKindThatThereIsNotIsAbsent) {
  const auto written = wait_for<void>([&](Done<void> done) {
    store_->write(
        [](WriteTxn& txn) {
          for (const std::uint8_t kind : {1, 2}) {
            catalog::EntryRow row{.commit = 900, .position = kind, .name = fmt::format("of kind {}", kind)};
            row.kind = static_cast<TreeEntry::Kind>(kind);
            catalog::store_entry(txn, row);
          }
          for (const std::uint8_t type : {3, 4})
            txn.put(Table::repos, KeyWriter().u32(900u + type),
                    RecordWriter(1).u8(type).text("acme/other").text("acme/other").i64(0));
        },
        std::move(done));
  });
  ASSERT_TRUE(written);
  store_->read([](const ReadTxn& txn) {
    EXPECT_TRUE(catalog::load_entry(txn, 900, 1));
    EXPECT_FALSE(catalog::load_entry(txn, 900, 2));
    std::set<std::string> names;
    catalog::visit_entries(txn, 900, 0, {}, [&](std::string_view name, auto, auto) {
      names.emplace(name);
      return true;
    });
    EXPECT_EQ(names, (std::set<std::string>{"of kind 1"}));
    EXPECT_TRUE(catalog::load_repo(txn, 903));
    EXPECT_FALSE(catalog::load_repo(txn, 904));
  });
}

// Of a tree there is as much as there is, whatever its commit's row says of that.
TEST_F(CatalogTest, ADamagedCountOfEntriesHoldsNobodyUp) {
  ASSERT_TRUE(walk("models--acme--tiny/snapshots/" + kCommitA + "/sub/deep/x.bin"));
  const RepoId repo = *RepoId::parse_user("acme/tiny");
  const auto written = wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) {
          const auto number = catalog::find_commit(txn, *catalog::find_repo(txn, repo), kCommitA);
          auto commit = catalog::load_commit(txn, *number);
          commit->next_position = ~0u;
          catalog::store_commit(txn, *commit);
        },
        std::move(done));
  });
  ASSERT_TRUE(written);
  const auto began = std::chrono::steady_clock::now();
  const auto tree = Versions(*store_).tree(repo, *CommitId::parse(kCommitA));
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(tree->files.size(), 2u);
  EXPECT_EQ(catalog_->neighbours(1, 100).size(), 1u);
  EXPECT_EQ(Pins(*store_, system_clock()).blobs_of(repo, *CommitId::parse(kCommitA)).size(), 2u);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

}  // namespace
}  // namespace hffs
