// SPDX-License-Identifier: Apache-2.0
// The client on the test hub: small files from the hub, large ones from nginx over TLS by signed
// addresses. Needs HFFS_SOURCE_ROOT (meson sets it), python3, nginx and openssl; skips without.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "hub_fixture.h"

namespace hffs {
namespace {

using namespace test;
namespace fs = std::filesystem;

class PythonHub : public HubTest {
 protected:
  void SetUp() override {
    const char* root = std::getenv("HFFS_SOURCE_ROOT");
    if (root == nullptr || std::system("command -v python3 nginx openssl >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "no test hub here";
    std::string name = (fs::temp_directory_path() / "hffs-hub-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    const fs::path tiny = folder / "models/acme/tiny";
    fs::create_directories(tiny / "sub");
    for (std::size_t i = 0; i < large.size(); ++i)
      large[i] = static_cast<char>((i * 2654435761u) >> 11);
    std::ofstream(tiny / "model.bin") << large;
    std::ofstream(tiny / "z space & +%.txt") << "z";
    for (int i = 0; i < 25; ++i) std::ofstream(tiny / "sub" / (std::to_string(i) + ".txt")) << i;
    start(std::string(root) + "/scripts/test-hub");
  }
  void TearDown() override {
    hub.reset();
    if (process > 0) {
      ::kill(process, SIGTERM);
      ::waitpid(process, nullptr, 0);
    }
    if (output) std::fclose(output);
    if (!folder.empty()) fs::remove_all(folder);
  }

  void start(const std::string& program) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    process = ::fork();
    if (process == 0) {
      ::dup2(ends[1], 1);
      ::close(ends[0]);
      ::execlp("python3", "python3", program.c_str(), folder.c_str(), "--set", "page_size=10",
               nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    output = ::fdopen(ends[0], "r");
    char line[1'024];
    while (std::fgets(line, sizeof line, output) != nullptr) {
      const std::string text(line);
      const auto after = [&](const std::string& mark) {
        const std::size_t at = text.find(mark);
        return at == text.npos
                   ? ""
                   : text.substr(at + mark.size(),
                                 text.find_first_of(" \n", at + mark.size()) - at - mark.size());
      };
      if (!after("HF_ENDPOINT=").empty()) endpoint = after("HF_ENDPOINT=");
      if (!after("SSL_CERT_FILE=").empty()) ca_file = after("SSL_CERT_FILE=");
      if (text.starts_with("# Ctrl-C")) break;
    }
    ASSERT_NE(endpoint, "") << "the test hub did not start";
    open([&](OriginOptions& options) {
      options.endpoints = {endpoint};
      options.ca_bundle = ca_file;
    });
  }

  pid_t process = -1;
  std::FILE* output = nullptr;
  fs::path folder;
  std::string endpoint, ca_file;
  std::string large = std::string(3'000'000, '\0');
};

TEST_F(PythonHub, NamesAndBytes) {
  const auto info = revision();
  ASSERT_TRUE(info) << info.error().message;
  ASSERT_TRUE(info->commit);
  EXPECT_FALSE(revision("nope")->commit);
  EXPECT_EQ(revision("main", repo("acme/none")).error().code, Code::not_found);
  EXPECT_EQ(refs()->refs.at(0).revision, "main");

  std::map<std::string, TreeEntry> entries;
  std::string cursor;
  int pages = 0;
  do {
    const auto page = tree(cursor, *info->commit);
    ASSERT_TRUE(page) << page.error().message;
    ++pages;
    EXPECT_TRUE(page->calls_left);
    for (const auto& each : page->entries) entries[each.path] = each;
    cursor = page->next.value_or("");
  } while (!cursor.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(entries.size(), 28u);  // 27 files, one directory
  ASSERT_TRUE(entries.contains("model.bin"));
  EXPECT_EQ(entries["model.bin"].size, large.size());

  const auto some = wait_for<std::vector<TreeEntry>>([&](auto done) {
    hub->fetch_paths(repo(), *info->commit, {"z space & +%.txt", "sub", "nope"}, std::move(done));
  });
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(some->size(), 2u);

  const auto read = [&](const std::string& path, ByteRange range) {
    const auto sink = std::make_shared<Heard>();
    const TreeEntry& entry = entries[path];
    hub->fetch_range({repo(), *info->commit, path, *entry.blob, entry.size}, range, sink);
    EXPECT_EQ(sink->end(), std::nullopt)
        << (sink->result && !*sink->result ? sink->result->error().message : "");
    return sink->bytes;
  };
  EXPECT_EQ(read("z space & +%.txt", {0, 1}), "z");
  EXPECT_EQ(read("sub/11.txt", {1, 1}), "1");
  EXPECT_EQ(read("model.bin", {1'234'567, 1'000'000}), large.substr(1'234'567, 1'000'000));
  EXPECT_EQ(read("model.bin", {large.size() - 5, 5}), large.substr(large.size() - 5));
}

TEST_F(PythonHub, StoreWhoseCertificateIsUnknownIsRefused) {
  const auto info = revision();
  ASSERT_TRUE(info && info->commit);
  const auto page = tree("", *info->commit);
  ASSERT_TRUE(page);
  open([&](OriginOptions& options) { options.endpoints = {endpoint}; });
  const auto model = wait_for<std::vector<TreeEntry>>(
      [&](auto done) { hub->fetch_paths(repo(), *info->commit, {"model.bin"}, std::move(done)); });
  ASSERT_TRUE(model && model->size() == 1);
  const auto sink = std::make_shared<Heard>();
  hub->fetch_range({repo(), *info->commit, "model.bin", *model->at(0).blob, large.size()}, {0, 5},
                   sink);
  EXPECT_EQ(sink->end(), Code::unreachable);
  EXPECT_EQ(sink->starts, 0);
}

}  // namespace
}  // namespace hffs
