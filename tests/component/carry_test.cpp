// SPDX-License-Identifier: Apache-2.0
//
// Imports into a real store.
#include <gtest/gtest.h>

#include <thread>

#include "cache_fixture.h"
#include "hffs/carry.h"
#include "hffs/catalog.h"

namespace hffs::test {
namespace {

class ImportTest : public CacheFixture {
 protected:
  ImportTest() {
    origin_.fault = [](const std::string&) { return Error{Code::unreachable, "no network", {}}; };
    auto store = Store::open({.state_dir = directory_.path() + "/state"}, system_disk(),
                             system_clock(), metrics_);
    EXPECT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    catalog_ = *Catalog::open({}, origin_, *store_, *access_, system_clock(), metrics_);
  }
  static auto opener(std::string path) {
    return [path = std::move(path)](const std::stop_token&) { return open_cache(path); };
  }
  std::unique_ptr<Importer> start(ImportRequest request) {
    return *Importer::start(std::move(request), *catalog_, *store_, system_disk());
  }
  Result<ImportReport> run(ImportRequest request) {
    const auto importer = start(std::move(request));
    for (int i = 0; i < 2'000; ++i) {
      if (auto result = importer->result()) return std::move(*result);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return fail(Code::bug, "no end");
  }
  std::size_t staged() const {
    const fs::path path = directory_.path() + "/state/hffs-v1/import";
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), {}));
  }

  Metrics metrics_;
  FakeOrigin origin_;
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(ImportTest, TakesEachContentOnce) {
  add("a.bin", "bytes", sha256("bytes"));
  add("wrong.bin", "other bytes", sha256("what it should be"));
  link("../../blobs/" + sha256("bytes").hex(), snapshot() / "b.bin");
  const auto report = run({.path = root(), .open = opener(root()), .importer = 7});
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_EQ(report->commits.size(), 1u);
  EXPECT_EQ(report->commits[0].taken_files, 1u);
  EXPECT_EQ(report->commits[0].present_files, 1u);
  EXPECT_EQ(left_out(report->skipped), (Left{{"wrong.bin", "wrong_bytes"}}));
  EXPECT_NE(report->skipped[0].reason.find(sha256("other bytes").hex()), std::string::npos);
  EXPECT_EQ(catalog_->self_attested(9)[0].importer, 7u);
  EXPECT_EQ(store_->usage().verified_blobs, 1u);
  EXPECT_EQ(staged(), 0u);
  EXPECT_TRUE(fs::exists(repo() / "blobs" / sha256("bytes").hex())) << "the source stays";
}

TEST_F(ImportTest, ManySmallFilesShareCommits) {
  for (int i = 0; i < 500; ++i) {
    const std::string text = fmt::format("file {}", i);
    add(fmt::format("f{}", i), text, git_sha1(text));
  }
  const auto report = run({.path = root(), .open = opener(root())});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->commits[0].taken_files, 500u);
  EXPECT_EQ(store_->usage().verified_blobs, 500u);
}

TEST_F(ImportTest, AStopLeavesNothingHalf) {
  for (int i = 0; i < 40; ++i) {
    const std::string text(4 << 20, static_cast<char>('a' + i));
    add(fmt::format("f{}", i), text, sha256(text));
  }
  for (const std::uint64_t bytes : {0, 1, 30 << 20}) {
    const auto importer = start({.path = root(), .open = opener(root())});
    while (importer->progress().bytes_done < bytes && !importer->result())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto report = run({.path = root(), .open = opener(root())});  // beside what the store has still under way
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(store_->usage().verified_blobs, 40u);
}

TEST_F(ImportTest, LeftoversOfAKilledImportGo) {
  add("a.bin", "bytes", sha256("bytes"));
  ASSERT_TRUE(run({.path = root(), .open = opener(root())}));
  write(directory_.path() + "/state/hffs-v1/import/17", "half");
  ASSERT_TRUE(run({.path = root(), .open = opener(root())}));
  EXPECT_EQ(staged(), 0u);
}

TEST_F(ImportTest, FailsWhereNothingCanBeRead) {
  EXPECT_EQ(run({.path = directory_.path() + "/nowhere", .open = opener(directory_.path() + "/nowhere")}).error().code, Code::not_found);
  write(root() / "file", "x");
  EXPECT_EQ(run({.path = (root() / "file").string(), .open = opener((root() / "file").string())}).error().code, Code::not_directory);
  EXPECT_EQ(run({.path = root(), .open = opener(root())}).error().code, Code::invalid);
}

}  // namespace
}  // namespace hffs::test
