// SPDX-License-Identifier: Apache-2.0
//
// A directory for one test, and the names of content. Threads: values with one owner.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "hffs/content_hash.h"

namespace hffs::test {

inline BlobId id_of(std::span<const std::byte> bytes, BlobId::Kind kind = BlobId::Kind::sha256) {
  auto hash = *ContentHash::start(kind, bytes.size());
  (void)hash.update(bytes);
  return *BlobId::parse(*hash.finish());
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hffs-store-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace hffs::test
