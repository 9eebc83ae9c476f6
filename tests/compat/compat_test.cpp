// SPDX-License-Identifier: Apache-2.0
//
// A store that an earlier hffs left behind is read back, whole: its blobs, what the catalog knew,
// what a user wrote, and the numbers that nodes are made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fake_origin.h"
#include "hffs/catalog.h"
#include "hffs/pins.h"
#include "overlay_rows.h"
#include "v1_content.h"
#include "wait.h"

namespace hffs::compat {
namespace {

using test::wait_for;
namespace files = std::filesystem;

class FrozenStore : public testing::Test {
 protected:
  FrozenStore() {
    std::string pattern = (files::temp_directory_path() / "hffs-compat-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    const std::string command = fmt::format("tar -xzf '{}' -C '{}'", HFFS_COMPAT_V1, directory_);
    EXPECT_EQ(std::system(command.c_str()), 0);
    // Nobody can be asked: what is read is what was kept.
    origin_.fault = [](const std::string&) { return Error{Code::unreachable, "no network", {}}; };
    open();
  }
  ~FrozenStore() override {
    catalog_.reset();
    store_.reset();
    files::remove_all(directory_);
  }
  void open() {
    catalog_.reset();
    store_.reset();
    auto store = Store::open({.state_dir = directory_}, system_disk(), system_clock(), metrics_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    auto catalog = Catalog::open({}, origin_, *store_, *access_, system_clock(), metrics_);
    ASSERT_TRUE(catalog);
    catalog_ = std::move(*catalog);
  }
  NodeId walk(const std::string& path) {
    NodeId node = kRootNode;
    std::size_t begin = 0;
    while (begin <= path.size()) {
      const std::size_t slash = std::min(path.find('/', begin), path.size());
      const auto entry = wait_for<Entry>([&](Done<Entry> done) {
        catalog_->lookup(Caller{}, node, path.substr(begin, slash - begin), std::move(done));
      });
      EXPECT_TRUE(entry) << path << ": " << entry.error().message;
      node = entry ? entry->node : NodeId{};
      begin = slash + 1;
    }
    return node;
  }
  std::shared_ptr<Blob> blob(const std::string& hash) {
    auto opened = store_->open_blob(walk("models--acme--tiny/blobs/" + hash).blob_number());
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *opened : nullptr;
  }
  static bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

  std::string directory_;
  Metrics metrics_;
  test::FakeOrigin origin_;
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(FrozenStore, BlobsAreReadBack) {
  const auto config = blob(kConfigHash);
  EXPECT_TRUE(config->identity().verified);
  EXPECT_EQ(config->identity().incarnation, 2u);
  std::vector<std::byte> bytes(kConfig.size());
  ASSERT_TRUE(config->read(0, bytes));
  EXPECT_TRUE(equal(bytes, std::as_bytes(std::span(kConfig))));
  EXPECT_TRUE(files::is_regular_file(
      fmt::format("{}/{:.2}/{}", store_->blob_directory(), kConfigHash, kConfigHash)));

  const auto filling = blob(kWeightsHash);
  EXPECT_EQ(filling->identity().incarnation, 1u);
  EXPECT_EQ(filling->identity().size, kWeightsSize);
  EXPECT_EQ(filling->missing({0, kWeightsSize}), (std::vector<BlockRun>{{1, 1}, {3, 1}}));
  const auto right = weights();
  bytes.resize(kBlockSize);
  for (const BlockIndex block : {0u, 2u}) {
    ASSERT_TRUE(filling->read(block * kBlockSize, bytes));
    EXPECT_TRUE(equal(bytes, std::span(right).subspan(block * kBlockSize, kBlockSize)));
  }
  EXPECT_EQ(blob(kReadmeHash)->missing({0, kReadmeSize}), (std::vector<BlockRun>{{0, 1}}));
  EXPECT_EQ(blob(kNotesHash)->identity().incarnation, 2u);
  EXPECT_FALSE(blob(kNotesHash)->identity().verified);
  EXPECT_EQ(store_->usage().blobs, 4u);
  EXPECT_EQ(store_->usage().verified_blobs, 1u);
  EXPECT_EQ(store_->usage().bytes, kConfig.size() + 2 * kBlockSize);
}

TEST_F(FrozenStore, AFillingBlobGoesOnToItsVerdict) {
  const auto filling = blob(kWeightsHash);
  const auto bytes = weights();
  for (const BlockIndex block : {1u, 3u}) {
    const ByteRange range = bytes_of(block, kWeightsSize);
    const auto part = std::span(bytes).subspan(range.offset, range.size);
    ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
      filling->write(block, {part.begin(), part.end()}, std::move(done));
    }));
  }
  ASSERT_TRUE(store_->flush());
  open();
  EXPECT_TRUE(blob(kWeightsHash)->identity().verified);
}

TEST_F(FrozenStore, TheCatalogKnowsWhatItKnew) {
  const std::string commit = "models--acme--tiny/snapshots/" + kCommit;
  EXPECT_EQ(catalog_->read_text(walk("models--acme--tiny/refs/main")).value_or(""), kCommit);
  EXPECT_EQ(catalog_->read_link(walk(commit + "/config.json")).value_or(""),
            "../../blobs/" + kConfigHash);
  EXPECT_EQ(catalog_->read_link(walk(commit + "/sub/weights.bin")).value_or(""),
            "../../../blobs/" + kWeightsHash);
  const auto sources =
      catalog_->sources_of(walk("models--acme--tiny/blobs/" + kWeightsHash).blob_number());
  ASSERT_TRUE(sources) << sources.error().message;
  EXPECT_EQ(sources->front().path, "sub/weights.bin");
  EXPECT_EQ(catalog_->usage().files, 4u);
}

// A kernel that remembers nodes of the process before asks this one for them.
TEST_F(FrozenStore, NodesAreThoseOfTheirNumbers) {
  const std::string repo = "models--acme--tiny", commit = repo + "/snapshots/" + kCommit;
  EXPECT_EQ(walk(repo), NodeId::of(NodeKind::repo, 1));
  EXPECT_EQ(walk(commit), NodeId::in_commit(NodeKind::tree, 1, 0));
  EXPECT_EQ(walk(commit + "/README.md"), NodeId::in_commit(NodeKind::tree, 1, 1));
  EXPECT_EQ(walk(commit + "/sub"), NodeId::in_commit(NodeKind::tree, 1, 4));
  EXPECT_EQ(walk(commit + "/sub/weights.bin"), NodeId::in_commit(NodeKind::tree, 1, 5));
  EXPECT_EQ(walk(repo + "/blobs/" + kReadmeHash), NodeId::of_blob(1, 1));
  EXPECT_EQ(walk(repo + "/blobs/" + kConfigHash), NodeId::of_blob(2, 2));
  EXPECT_EQ(walk(repo + "/blobs/" + kNotesHash), NodeId::of_blob(3, 2));
  EXPECT_EQ(walk(repo + "/blobs/" + kWeightsHash), NodeId::of_blob(4, 1));
  std::uint64_t next = 0;
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) {
          next = store_->add_blob(txn, *BlobId::parse(std::string(64, '9')), 1);
        },
        std::move(done));
  }));
  EXPECT_EQ(next, 5u);
}

TEST_F(FrozenStore, WhatAUserWroteIsThere) {
  const auto rows = fs::load_rows(*store_);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].user, kUser);
  EXPECT_EQ(rows[0].name, kOwnName);
  EXPECT_EQ(rows[0].mode, 0644u);
  EXPECT_EQ(rows[0].kind, FileKind::regular);
  EXPECT_EQ(rows[0].parent, NodeId::of(NodeKind::repo, 1));
  std::ifstream file(fmt::format("{}/{:016x}", *store_->directory("overlay"), rows[0].number));
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(file)), {}), kOwnText);
  EXPECT_GT(*fs::reserve_numbers(*store_), rows[0].number);
}

// The tables that came after the archive was made, as docs/STORE_FORMAT.md has them, byte by byte.
TEST_F(FrozenStore, TablesThatCameLaterAreReadAsTheyAreWritten) {
  using namespace std::string_literals;
  const std::string config = "\0\0\0\0\0\0\0\2"s, weights = "\0\0\0\0\0\0\0\4"s;
  const std::string pin = "models--acme--tiny@" + kCommit, since = "\1\x64\0\0\0\0\0\0\0"s;
  const auto value = [&](Table table, const std::string& key) {
    std::string found;
    store_->read([&](const ReadTxn& txn) { found = txn.get(table, key).value_or("none"); });
    return found;
  };
  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    store_->write(
        [&](WriteTxn& txn) {
          txn.put(Table::pins, pin, since);
          // The eviction of a verified blob, stopped before its file was removed.
          txn.put(Table::blobs, config,
                  "\1\0\3\0\0\0"s + static_cast<char>(kConfig.size()) + "\0\0\0\0\0\0\0\x28\0\0\0"s +
                      kConfigHash + "\0\0\0\0"s);
          txn.put(Table::evictions, config, "\1\3\0\0\0"s);
          txn.put(Table::blob_uses, weights, since);
        },
        std::move(done));
  }));
  open();
  const std::vector<Pin> pins = Pins(*store_, system_clock()).list();
  ASSERT_EQ(pins.size(), 1u);
  EXPECT_EQ(pins[0].repo.layout(), "models--acme--tiny");
  EXPECT_EQ(pins[0].commit->hex(), kCommit);
  EXPECT_EQ(pins[0].since.time_since_epoch(), std::chrono::seconds(100));
  EXPECT_FALSE(files::exists(
      fmt::format("{}/{:.2}/{}", store_->blob_directory(), kConfigHash, kConfigHash)));
  EXPECT_EQ(value(Table::evictions, config), "none");
  EXPECT_EQ(blob(kConfigHash)->identity().incarnation, 3u);

  ASSERT_TRUE(wait_for<void>([&](Done<void> done) {
    Pins(*store_, system_clock()).add(pins[0].repo, {}, std::move(done));
  }));
  EXPECT_EQ(value(Table::pins, "models--acme--tiny").size(), 9u);
  EXPECT_EQ(value(Table::pins, "models--acme--tiny")[0], '\1');
  (void)blob(kWeightsHash);
  open();
  const std::string used = value(Table::blob_uses, weights);
  EXPECT_EQ(used.size(), 9u);
  EXPECT_EQ(used[0], '\1');
  EXPECT_NE(used, since);
}

}  // namespace
}  // namespace hffs::compat
