// SPDX-License-Identifier: Apache-2.0
//
// Self-attested commits over a real store and an origin in memory: what a folder said, what the Hub
// says later, and the rows that keep it.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "fake_origin.h"
#include "hffs/catalog.h"
#include "hffs/pins.h"
#include "index.h"
#include "temporary.h"
#include "wait.h"

namespace hffs {
namespace {

using test::wait_for;

const std::string kCommit(40, 'a'), kOther(40, 'b');
const BlobId kOne = *BlobId::parse(std::string(40, '1')), kTwo = *BlobId::parse(std::string(64, '2')),
             kThree = *BlobId::parse(std::string(40, '3'));
const RepoId kRepo = *RepoId::parse_user("acme/carried");
constexpr uid_t kUser = 1'234;

TreeEntry entry(const std::string& path, const BlobId& blob, std::uint64_t size = 100) {
  return {.path = path, .size = size, .blob = blob};
}
Error unreachable() {
  return {Code::unreachable, "no network", {}};
}

class AttestedTest : public testing::Test {
 protected:
  AttestedTest() { open(); }
  ~AttestedTest() override {
    catalog_.reset();
    store_.reset();
  }
  void open() {
    catalog_.reset();
    store_.reset();
    auto store =
        Store::open({.state_dir = directory_.path()}, system_disk(), system_clock(), metrics_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    auto catalog = Catalog::open({.missing_ttl = std::chrono::milliseconds(50)}, origin_, *store_,
                                 *access_, system_clock(), metrics_);
    ASSERT_TRUE(catalog);
    catalog_ = std::move(*catalog);
  }
  void away(bool is_away) {
    origin_.change([&] {
      origin_.fault = nullptr;
      if (is_away) origin_.fault = [](const std::string&) { return unreachable(); };
    });
  }
  void publish(std::vector<TreeEntry> entries) {
    origin_.change([&] {
      origin_.repos[kRepo.text()] = {.refs = {{"main", kCommit}}, .trees = {{kCommit, entries}}};
    });
  }
  Result<WholeTree> attest(std::vector<TreeEntry> files, const std::string& commit = kCommit) {
    return wait_for<WholeTree>([&](auto done) {
      catalog_->attest({kRepo, *CommitId::parse(commit), kUser, std::move(files)}, std::move(done));
    });
  }
  Result<WholeTree> ask(const std::string& commit = kCommit) {
    return wait_for<WholeTree>([&](auto done) {
      catalog_->ask_tree(kRepo, *CommitId::parse(commit), std::move(done));
    });
  }
  bool attest_ref(const std::string& revision, const std::string& commit) {
    return *wait_for<bool>([&](auto done) {
      catalog_->attest_ref(kRepo, revision, *CommitId::parse(commit), std::move(done));
    });
  }
  Result<Entry> walk(const std::string& path) {
    Result<Entry> found = Entry{.node = kRootNode};
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t slash = std::min(path.find('/', begin), path.size());
      found = wait_for<Entry>([&](auto done) {
        catalog_->lookup(Caller{}, found->node, path.substr(begin, slash - begin), std::move(done));
      });
      if (!found || found->node.value == 0) return found;
      begin = slash + 1;
    }
    return found;
  }
  static std::map<std::string, std::string> names(const Result<WholeTree>& tree) {
    EXPECT_TRUE(tree) << tree.error().message;
    std::map<std::string, std::string> found;
    if (tree)
      for (const auto& file : tree->files) found[file.path] = file.blob.id.hex();
    return found;
  }
  const std::string snapshot_ = "models--acme--carried/snapshots/" + kCommit;

  test::TemporaryDirectory directory_;
  Metrics metrics_;
  test::FakeOrigin origin_;
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Catalog> catalog_;
};

using Names = std::map<std::string, std::string>;

TEST_F(AttestedTest, AFoldersWordIsKeptAndMarked) {
  away(true);
  const auto tree = attest({entry("config.json", kOne, 100), entry("sub/x.bin", kTwo, 5)});
  EXPECT_EQ(names(tree), (Names{{"config.json", kOne.hex()}, {"sub/x.bin", kTwo.hex()}}));
  EXPECT_TRUE(tree->self_attested);
  EXPECT_TRUE(attest_ref("main", kCommit));
  open();
  EXPECT_TRUE(walk(snapshot_ + "/sub/x.bin"));
  EXPECT_EQ(*catalog_->read_text(walk("models--acme--carried/refs/main")->node), kCommit);
  const auto marked = catalog_->self_attested(10);
  ASSERT_EQ(marked.size(), 1u);
  EXPECT_EQ(marked[0].repo, kRepo);
  EXPECT_EQ(marked[0].importer, kUser);
  EXPECT_EQ(catalog_->usage().self_attested, 1u);
  EXPECT_EQ(ask().error().code, Code::unreachable);
}

TEST_F(AttestedTest, NamesOfItAreNotBelievedForLong) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kOne, 100)}));
  EXPECT_LE(walk(snapshot_ + "/config.json")->entry_ttl, std::chrono::seconds(1));
  const auto missing = walk(snapshot_ + "/later.json");
  ASSERT_FALSE(missing) << "an absence that may be remembered";
  EXPECT_EQ(missing.error().code, Code::not_found);
  // The Hub's own are.
  publish({entry("config.json", kOne)});
  away(false);
  ASSERT_TRUE(ask());
  EXPECT_GT(walk(snapshot_ + "/config.json")->entry_ttl, std::chrono::minutes(1));
  EXPECT_EQ(walk(snapshot_ + "/later.json")->node.value, 0u);
}

TEST_F(AttestedTest, FoldersAddUpAndTheLaterOneHolds) {
  away(true);
  ASSERT_TRUE(attest({entry("a", kOne, 100), entry("b", kTwo, 5)}));
  const auto node = walk(snapshot_ + "/a")->node;
  EXPECT_EQ(names(attest({entry("c", kThree, 7)})),
            (Names{{"a", kOne.hex()}, {"b", kTwo.hex()}, {"c", kThree.hex()}}));
  EXPECT_EQ(walk(snapshot_ + "/a")->node, node) << "what is added moves nothing";
  EXPECT_EQ(names(attest({entry("a", kThree, 7)})),
            (Names{{"a", kThree.hex()}, {"b", kTwo.hex()}, {"c", kThree.hex()}}));
  EXPECT_NE(walk(snapshot_ + "/a")->node, node) << "a node means one thing for ever";
  EXPECT_EQ(catalog_->attributes(node).error().code, Code::stale);
}

TEST_F(AttestedTest, TheHubConfirms) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kOne, 100)}));
  ASSERT_TRUE(attest_ref("main", kCommit));
  const auto node = walk(snapshot_ + "/config.json")->node;
  publish({entry("config.json", kOne), entry("more.json", kThree)});
  away(false);
  EXPECT_EQ(names(ask()), (Names{{"config.json", kOne.hex()}, {"more.json", kThree.hex()}}));
  EXPECT_EQ(walk(snapshot_ + "/config.json")->node, node);
  EXPECT_TRUE(catalog_->self_attested(10).empty());
  const int asked = origin_.count("tree");
  EXPECT_FALSE(ask()->self_attested);
  EXPECT_EQ(origin_.count("tree"), asked) << "once is enough";
}

TEST_F(AttestedTest, TheHubContradicts) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kThree, 100), entry("mine.txt", kTwo, 9), entry("dir", kOne, 100)}));
  ASSERT_TRUE(attest_ref("main", kCommit));
  ASSERT_TRUE(attest_ref("refs/pr/1", kCommit));
  const auto node = walk(snapshot_ + "/mine.txt")->node;
  origin_.page_size = 1;  // in pages: all of it, or nothing
  publish({entry("config.json", kOne), entry("dir/x.bin", kTwo, 9)});
  away(false);
  EXPECT_EQ(names(ask()), (Names{{"config.json", kOne.hex()}, {"dir/x.bin", kTwo.hex()}}));
  EXPECT_EQ(walk(snapshot_ + "/mine.txt")->node.value, 0u);
  EXPECT_EQ(catalog_->attributes(node).error().code, Code::stale);
  away(true);  // or a look at refs/pr/1 asks the Hub, which has no such ref
  for (const char* ref : {"main", "refs/pr/1"})
    EXPECT_EQ(*catalog_->read_text(walk(std::string("models--acme--carried/refs/") + ref)->node),
              kCommit);
  const std::string blobs = "models--acme--carried/blobs/";
  EXPECT_TRUE(walk(blobs + kTwo.hex())) << "under another name it is still the repository's";
  EXPECT_FALSE(walk(blobs + kThree.hex()));
  open();
  EXPECT_EQ(names(ask()), (Names{{"config.json", kOne.hex()}, {"dir/x.bin", kTwo.hex()}}));
  EXPECT_EQ(catalog_->usage().commits, 1u);
}

TEST_F(AttestedTest, WhoeverUsesItMakesTheHubBeAsked) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kOne, 100)}));
  publish({entry("config.json", kOne)});
  away(false);
  for (int i = 0; i < 300 && !catalog_->self_attested(1).empty(); ++i) {
    EXPECT_TRUE(walk(snapshot_ + "/config.json"));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(catalog_->self_attested(1).empty());
}

TEST_F(AttestedTest, TheHubsWordIsNotAFoldersToChange) {
  publish({entry("config.json", kOne)});
  ASSERT_TRUE(ask());
  ASSERT_TRUE(wait_for<CommitId>(
      [&](auto done) { catalog_->ask_revision(kRepo, "main", std::move(done)); }));
  away(true);
  const auto tree = attest({entry("config.json", kThree, 100), entry("more", kTwo, 5)});
  EXPECT_EQ(names(tree), (Names{{"config.json", kOne.hex()}}));
  EXPECT_FALSE(tree->self_attested);
  ASSERT_TRUE(attest({entry("config.json", kThree, 100)}, kOther));
  EXPECT_FALSE(attest_ref("main", kOther)) << "the Hub has said what main is";
  EXPECT_TRUE(attest_ref("mine", kOther));
  EXPECT_TRUE(attest_ref("mine", kCommit)) << "a folder's ref gives way to a folder's";
}

TEST_F(AttestedTest, WhatTheHubHasToldOfATreeSoFarHolds) {
  origin_.page_size = 1;
  publish({entry("a", kOne), entry("b", kTwo, 5), entry("c", kOne)});
  EXPECT_TRUE(walk(snapshot_ + "/b")) << "by its first page and a single path";
  away(true);
  const auto tree = attest({entry("a", kThree, 7), entry("b", kThree, 7), entry("d", kThree, 7)});
  EXPECT_EQ(names(tree),
            (Names{{"a", kOne.hex()}, {"b", kTwo.hex()}, {"d", kThree.hex()}}));
  EXPECT_TRUE(tree->self_attested);
}

// An import is the only copy of what a folder lacks, though the folder vouches for the rest.
TEST_F(AttestedTest, AFolderStandsForWhatItHas) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kOne), entry("model.bin", kTwo)}));
  publish({entry("config.json", kOne), entry("more.json", kThree)});
  origin_.change([&] { origin_.attested_by = kFolderItself; });
  away(false);
  const auto only_copies = [&] {
    std::set<std::string> found;
    store_->read([&](const ReadTxn& txn) {
      visit_staying_blobs(txn, [&](std::uint64_t number, Bounds::Stay why) {
        if (why == Bounds::Stay::only_copy) found.insert(store_->find_blob(txn, number)->id.hex());
      });
    });
    return found;
  };
  EXPECT_TRUE(only_copies().contains(kTwo.hex()));
  EXPECT_FALSE(ask());
  ASSERT_NE(walk(snapshot_ + "/more.json")->node.value, 0u);
  EXPECT_TRUE(only_copies().contains(kTwo.hex()));
  EXPECT_EQ(catalog_->self_attested(1)[0].importer, kUser);
  // Where it has all of it, it stands for all.
  publish({entry("config.json", kOne), entry("more.json", kThree), entry("model.bin", kTwo),
           entry("last.json", kOne)});
  EXPECT_FALSE(ask());
  EXPECT_TRUE(only_copies().empty());
}

// The Hub's page was asked for before the import, and comes after it.
TEST_F(AttestedTest, APageThatIsLateIsNotMixedIn) {
  publish({entry("config.json", kThree)});
  ASSERT_TRUE(walk("models--acme--carried/refs/main"));
  origin_.change([&] {
    origin_.on_the_way = [&, first = true](const std::string& call) mutable {
      if (call == "tree" && std::exchange(first, false)) {
        EXPECT_TRUE(attest({entry("config.json", kOne), entry("mine.json", kTwo)}));
      }
    };
  });
  (void)walk(snapshot_ + "/config.json");
  EXPECT_EQ(names(ask()), (Names{{"config.json", kThree.hex()}}));
  EXPECT_FALSE(ask()->self_attested);
}

// As it is written in docs/STORE_FORMAT.md: never changed.
TEST_F(AttestedTest, TheRowsBytes) {
  away(true);
  ASSERT_TRUE(attest({entry("config.json", kOne, 100)}));
  std::string row;
  store_->read([&](const ReadTxn& txn) {
    row = std::string(*txn.get(Table::commits, std::string_view("\0\0\0\1", 4)));
  });
  const std::string expected = std::string("\x02\x01\0\0\0\x28\0\0\0", 9) + kCommit;
  ASSERT_EQ(row.size(), expected.size() + 8 + 1 + 4 + 4 + 4 + 4);
  EXPECT_TRUE(row.starts_with(expected));
  EXPECT_EQ(row.substr(expected.size() + 8),
            std::string("\x03\x02\0\0\0\x01\0\0\0\0\0\0\0\xd2\x04\0\0", 17));
  // Without the mark it is a row of version 1.
  publish({entry("config.json", kOne)});
  away(false);
  ASSERT_TRUE(ask());
  store_->read([&](const ReadTxn& txn) {
    row = std::string(*txn.get(Table::commits, std::string_view("\0\0\0\1", 4)));
  });
  EXPECT_EQ(row.size(), expected.size() + 8 + 1 + 4 + 4 + 4);
  EXPECT_EQ(row[0], '\x01');
}

}  // namespace
}  // namespace hffs
