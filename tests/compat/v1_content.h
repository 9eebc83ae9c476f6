// SPDX-License-Identifier: Apache-2.0
//
// What the frozen store of format 1 holds. Nothing here may change: the store is older than the
// code.
#pragma once

#include <string>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/hub.h"

namespace hffs::compat {

inline const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";
inline constexpr std::uint32_t kUser = 1'000;

// Verified.
inline const std::string kConfig = "{\"model_type\": \"tiny\"}\n";
inline const std::string kConfigHash = "b6ded5f340daa14ef0b286ae424ea6eef34544b1";
// Filling: blocks 0 and 2 are claimed. Block N is made of bytes N + 1.
inline constexpr std::uint64_t kWeightsSize = 3 * kBlockSize + 5;
inline const std::string kWeightsHash =
    "90de6435650d4dd94bab83a4be29863a4c1670ea693c948b1ea5d847fba171b9";
// Known, and nothing of it here.
inline const std::string kReadmeHash = "ffffffffffffffffffffffffffffffffffffffff";
inline constexpr std::uint64_t kReadmeSize = 12'345;
// Its first bytes were wrong: the second incarnation is empty.
inline const std::string kNotesHash = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";  // of "hello"
inline constexpr std::uint64_t kNotesSize = 5;
// In the overlay of kUser, below the repository's directory.
inline const std::string kOwnName = "mine.txt", kOwnText = "written by a client\n";

inline std::vector<std::byte> weights() {
  std::vector<std::byte> bytes(kWeightsSize);
  for (std::uint64_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i / kBlockSize + 1);
  return bytes;
}

inline TreeEntry file(std::string path, std::uint64_t size, const std::string& hash) {
  return {.kind = TreeEntry::Kind::file,
          .path = std::move(path),
          .size = size,
          .blob = *BlobId::parse(hash)};
}
inline std::vector<TreeEntry> tree() {
  return {file("README.md", kReadmeSize, kReadmeHash),
          file("config.json", kConfig.size(), kConfigHash),
          file("notes.txt", kNotesSize, kNotesHash),
          file("sub/weights.bin", kWeightsSize, kWeightsHash)};
}

}  // namespace hffs::compat
