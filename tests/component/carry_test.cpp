// SPDX-License-Identifier: Apache-2.0
//
// The layouts that a folder may have, as they are read; and imports into a real store.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "fake_origin.h"
#include "hffs/carry.h"
#include "hffs/catalog.h"
#include "layout.h"
#include "naming.h"
#include "temporary.h"
#include "wait.h"

namespace hffs {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'a');
const RepoId kRepo = *RepoId::parse_user("acme/tiny");
constexpr const char* kLayout = "models--acme--tiny";

BlobId sha256(const std::string& text) {
  return test::id_of(std::as_bytes(std::span(text)));
}
BlobId git_sha1(const std::string& text) {
  return test::id_of(std::as_bytes(std::span(text)), BlobId::Kind::git_sha1);
}

class CarryTest : public testing::Test {
 protected:
  fs::path root() const { return fs::path(directory_.path()) / "hub"; }
  fs::path repo() const { return root() / kLayout; }
  fs::path snapshot() const { return repo() / "snapshots" / kCommit; }
  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  static void link(const fs::path& target, const fs::path& path) {
    fs::create_directories(path.parent_path());
    fs::create_symlink(target, path);
  }
  // A file of the snapshot, and its blob.
  void add(const std::string& path, const std::string& text, const BlobId& blob) {
    write(repo() / "blobs" / blob.hex(), text);
    link(fs::relative(repo() / "blobs" / blob.hex(), (snapshot() / path).parent_path()),
         snapshot() / path);
  }
  static std::map<std::string, std::string> left_out(const std::vector<Skipped>& skipped) {
    std::map<std::string, std::string> found;
    for (const Skipped& each : skipped)
      found[fs::path(each.path).filename()] = name_of(each.why);
    return found;
  }

  test::TemporaryDirectory directory_;
};

using Left = std::map<std::string, std::string>;

TEST_F(CarryTest, ReadsLinks) {
  add("config.json", "{}", git_sha1("{}"));
  add("sub/dir/x.bin", "bytes", sha256("bytes"));
  write(repo() / "refs/main", kCommit);
  write(repo() / "refs/refs/pr/1", kCommit + "\n");
  for (const fs::path& path : {root(), repo(), root().parent_path()}) {
    const auto found = carry::read_cache(path);  // the last one as HF_HOME
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(found->skipped.empty());
    ASSERT_EQ(found->repos.size(), 1u);
    const auto& taken = found->repos[0];
    EXPECT_EQ(taken.id, kRepo);
    ASSERT_EQ(taken.refs.size(), 2u);
    EXPECT_EQ(taken.refs[0].revision, "main");
    EXPECT_EQ(taken.refs[1].revision, "refs/pr/1");
    ASSERT_EQ(taken.commits.size(), 1u);
    ASSERT_EQ(taken.commits[0].files.size(), 2u);
    EXPECT_EQ(taken.commits[0].files[0].blob, git_sha1("{}"));
    EXPECT_EQ(taken.commits[0].files[1].path, "sub/dir/x.bin");
    EXPECT_EQ(taken.commits[0].files[1].blob, sha256("bytes"));
    EXPECT_EQ(taken.commits[0].files[1].size, 5u);
  }
}

TEST_F(CarryTest, ReadsFilesWhereThereAreNoLinks) {
  write(snapshot() / "config.json", "{}");
  const auto found = carry::read_cache(root());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->repos[0].commits[0].files[0].blob);
}

TEST_F(CarryTest, ReadsTheStoreOfAWholeCache) {
  const std::string xet(64, '7'), etag = sha256("bytes").hex();
  write(root() / "blobs/77" / xet, "bytes");
  write(root() / "blobs/.huggingface-shared-blobs", "1\n");
  link("../../blobs/77/" + xet, repo() / "blobs" / etag);
  link("../../blobs/" + etag, snapshot() / "x.bin");
  for (const fs::path& path : {root(), repo()}) {
    const auto found = carry::read_cache(path);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->repos[0].commits[0].files.size(), 1u) << path;
    EXPECT_EQ(found->repos[0].commits[0].files[0].blob, sha256("bytes"));
    EXPECT_EQ(found->repos[0].commits[0].files[0].size, 5u);
  }
}

TEST_F(CarryTest, NeverLeavesTheFolder) {
  write(fs::path(directory_.path()) / "secret", "nobody's business");
  write(root() / "other/secret", "nor this, where one repository was named");
  link("../../../../secret", snapshot() / "up");
  link(fs::path(directory_.path()) / "secret", snapshot() / "absolute");
  link("../../../other", snapshot() / "folder");
  link("../../../other/secret", snapshot() / "beside");
  link("circle", snapshot() / "circle");
  link("/proc/self/fd/0", snapshot() / "magic");
  const auto found = carry::read_cache(repo());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->repos[0].commits[0].files.empty());
  EXPECT_EQ(left_out(found->skipped),
            (Left{{"up", "outside"}, {"absolute", "outside"}, {"folder", "outside"},
                  {"beside", "outside"}, {"circle", "broken_link"}, {"magic", "outside"}}));
}

TEST_F(CarryTest, LeavesOutWhatIsNoFile) {
  add("good", "{}", git_sha1("{}"));
  link("../../blobs/" + std::string(64, '1'), snapshot() / "dangling");
  ASSERT_EQ(::mkfifo((snapshot() / "pipe").c_str(), 0600), 0);
  write(snapshot() / "new\nline", "x");
  write(repo() / "snapshots/main/file", "x");
  write(repo() / "refs/broken", "not a commit");
  write(repo() / "blobs" / (std::string(64, '2') + ".incomplete"), "x");
  write(repo() / "blobs" / std::string(64, '3'), "x");
  write(repo() / "blobs" / (std::string(64, '3') + ".lock"), "");
  write(root() / "notes/file", "x");
  const auto found = carry::read_cache(root());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(left_out(found->skipped),
            (Left{{"dangling", "broken_link"}, {"pipe", "unreadable"}, {"new\nline", "bad_name"},
                  {"main", "bad_name"}, {"broken", "bad_name"},
                  {std::string(64, '2') + ".incomplete", "partial"},
                  {std::string(64, '3'), "unreferenced"}}));
  EXPECT_EQ(found->repos[0].commits[0].files.size(), 1u);
}

TEST_F(CarryTest, ReadsAListing) {
  add("config.json", "{}", git_sha1("{}"));
  const auto listing = [&](const std::string& text) {
    write(repo() / "trees" / (kCommit + ".json"), text);
    return carry::read_cache(root())->repos[0].commits[0].listing;
  };
  const auto good = listing(fmt::format(
      R"({{"format_version":1,"files":{{"config.json":{{"size":2,"blob_id":"{}"}},)"
      R"("x.bin":{{"size":130,"blob_id":"{}","lfs_sha256":"{}","lfs_size":5}},)"
      R"("../out":{{"size":2,"blob_id":"{}"}},"no-size":{{"blob_id":"{}"}},"odd":3}}}})",
      git_sha1("{}").hex(), git_sha1("p").hex(), sha256("bytes").hex(), git_sha1("{}").hex(),
      git_sha1("{}").hex()));
  ASSERT_EQ(good.size(), 2u);
  EXPECT_EQ(good[1].path, "x.bin");
  EXPECT_EQ(good[1].blob, sha256("bytes"));
  EXPECT_EQ(good[1].size, 5u);
  for (const char* bad : {"", "[]", "{", R"({"format_version":2,"files":{}})", R"({"format_version":1})",
                          R"({"format_version":1,"files":[]})", R"({"format_version":"1"})"})
    EXPECT_TRUE(listing(bad).empty()) << bad;
}

TEST_F(CarryTest, ReadsAPlainFolder) {
  write(root() / "config.json", "{}");
  write(root() / "sub/x.bin", "bytes");
  write(root() / ".gitattributes", "*.bin filter=lfs");
  write(root() / ".cache/huggingface/download/x.lock", "");
  write(root() / ".git/HEAD", "x");
  write(root() / "y.bin.incomplete", "x");
  const auto found = carry::read_plain(root(), kRepo);
  ASSERT_TRUE(found) << found.error().message;
  std::set<std::string> paths;
  for (const auto& file : found->repos[0].commits[0].files) paths.insert(file.path);
  EXPECT_EQ(paths, (std::set<std::string>{".gitattributes", "config.json", "sub/x.bin"}));
  EXPECT_EQ(left_out(found->skipped), (Left{{"y.bin.incomplete", "partial"}}));
  EXPECT_EQ(carry::read_cache(root()).error().code, Code::invalid);
}

TEST_F(CarryTest, GivesTheNamesThatTheHubWould) {
  const auto kind = [&](const std::string& text) {
    write(root() / "file", text);
    const UniqueFd fd(::open((root() / "file").c_str(), O_RDONLY | O_CLOEXEC));
    return *carry::kind_of_file(fd.get(), text.size());
  };
  using enum BlobId::Kind;
  EXPECT_EQ(kind(""), git_sha1);
  EXPECT_EQ(kind("text"), git_sha1);
  EXPECT_EQ(kind(std::string(8'000, 'x') + '\0'), git_sha1);
  EXPECT_EQ(kind(std::string(7'999, 'x') + '\0'), sha256);
  EXPECT_EQ(kind(std::string((10 << 20) - 1, 'x')), git_sha1);
  EXPECT_EQ(kind(std::string(10 << 20, 'x')), sha256);
  // Whatever the order, by hand: sha1("blob 94\0" + the two lines).
  const Attestation::File a{"a", ::hffs::git_sha1("{}"), 2}, b{"b", ::hffs::git_sha1("x"), 1};
  EXPECT_EQ(carry::commit_of({a, b})->hex(), carry::commit_of({b, a})->hex());
  EXPECT_EQ(carry::commit_of({a, b})->hex(),
            ::hffs::git_sha1(fmt::format("{} 2 a\n{} 1 b\n", a.blob.hex(), b.blob.hex())).hex());
}

// With a store

class ImportTest : public CarryTest {
 protected:
  ImportTest() {
    origin_.fault = [](const std::string&) { return Error{Code::unreachable, "no network", {}}; };
    auto store = Store::open({.state_dir = directory_.path() + "/state"}, system_disk(),
                             system_clock(), metrics_);
    EXPECT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    catalog_ = *Catalog::open({}, origin_, *store_, *access_, system_clock(), metrics_);
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
  test::FakeOrigin origin_;
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(ImportTest, TakesEachContentOnce) {
  add("a.bin", "bytes", sha256("bytes"));
  add("wrong.bin", "other bytes", sha256("what it should be"));
  link("../../blobs/" + sha256("bytes").hex(), snapshot() / "b.bin");
  const auto report = run({.path = root(), .importer = 7});
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
  const auto report = run({.path = root()});
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
    const auto importer = start({.path = root()});
    while (importer->progress().bytes_done < bytes && !importer->result())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto report = run({.path = root()});  // beside what the store has still under way
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(store_->usage().verified_blobs, 40u);
}

TEST_F(ImportTest, LeftoversOfAKilledImportGo) {
  add("a.bin", "bytes", sha256("bytes"));
  ASSERT_TRUE(run({.path = root()}));
  write(directory_.path() + "/state/hffs-v1/import/17", "half");
  ASSERT_TRUE(run({.path = root()}));
  EXPECT_EQ(staged(), 0u);
}

TEST_F(ImportTest, FailsWhereNothingCanBeRead) {
  EXPECT_EQ(run({.path = directory_.path() + "/nowhere"}).error().code, Code::not_found);
  write(root() / "file", "x");
  EXPECT_EQ(run({.path = (root() / "file").string()}).error().code, Code::not_directory);
  EXPECT_EQ(run({.path = root()}).error().code, Code::invalid);
}

}  // namespace
}  // namespace hffs
