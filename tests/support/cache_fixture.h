// SPDX-License-Identifier: Apache-2.0
//
// A Hugging Face cache in a temporary directory, made as clients make it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "fake_origin.h"
#include "hffs/layout.h"
#include "temporary.h"

namespace hffs::test {

namespace fs = std::filesystem;

inline const std::string kCommit(40, 'a');
inline const RepoId kRepo = *RepoId::parse_user("acme/tiny");
constexpr const char* kLayout = "models--acme--tiny";

inline BlobId sha256(const std::string& text) {
  return id_of(std::as_bytes(std::span(text)));
}
inline BlobId git_sha1(const std::string& text) {
  return id_of(std::as_bytes(std::span(text)), BlobId::Kind::git_sha1);
}

class CacheFixture : public testing::Test {
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
  static Result<Found> cache_at(const std::string& path) {
    auto opened = open_cache(path);
    return opened ? read_cache(std::move(*opened)) : fail(opened);
  }
  static std::map<std::string, std::string> left_out(const std::vector<Skipped>& skipped) {
    std::map<std::string, std::string> found;
    for (const Skipped& each : skipped)
      found[fs::path(each.path).filename()] = name_of(each.why);
    return found;
  }

  TemporaryDirectory directory_;
};

using Left = std::map<std::string, std::string>;

}  // namespace hffs::test
