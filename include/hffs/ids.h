// SPDX-License-Identifier: Apache-2.0
//
// Names of the Hub as types, and the names of the cache layout made from them.
//
// An id that exists is well-formed: parse() is the only way to make one from text, so no other
// module checks names again. Sources: huggingface_hub 2.4.0 `utils/_validators.py` (repo ids) and
// `file_download.py` (layout). Threads: value types, any thread. Nothing here blocks.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "hffs/error.h"

namespace hffs {

enum class RepoType : std::uint8_t { model, dataset, space, kernel };

// "model" → prefix "models" of layout names and of API paths ("models", "datasets", …).
std::string_view plural(RepoType type);

// A repository: type and "ORG/NAME", or a bare "NAME" for old canonical ones. 1–96 characters of
// [A-Za-z0-9._-] in all, at most one '/', no part that starts or ends with '-' or '.', no "--",
// no "..", no ".git" suffix.
class RepoId {
 public:
  static Result<RepoId> parse(RepoType type, std::string_view name);
  // "models--ORG--NAME" and its kin; anything else is Code::not_found.
  static Result<RepoId> parse_layout(std::string_view directory);
  // What people type: "ORG/NAME", "datasets/ORG/NAME", …
  static Result<RepoId> parse_user(std::string_view text);

  RepoType type() const { return type_; }
  const std::string& name() const { return name_; }
  std::string layout() const;  // "models--ORG--NAME"
  std::string text() const;    // "ORG/NAME" for models, "datasets/ORG/NAME" otherwise

  auto operator<=>(const RepoId&) const = default;

 private:
  RepoId(RepoType type, std::string name) : type_(type), name_(std::move(name)) {}
  RepoType type_;
  std::string name_;
};

// A commit: 40 lowercase hex on the Hub, 64 on others. Opaque beyond that.
class CommitId {
 public:
  static Result<CommitId> parse(std::string_view hex);
  const std::string& hex() const { return hex_; }
  auto operator<=>(const CommitId&) const = default;

 private:
  explicit CommitId(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

// A branch, tag, "refs/pr/N" or abbreviated hash: what may stand after "revision/". Not empty, at
// most 255 bytes a component, no control character, no empty, "." or ".." component.
Result<std::string> parse_revision(std::string_view text);

// The content of a file: sha256 (64 hex, LFS and Xet files) or git blob sha1 (40 hex). It is the
// blob's name in the layout, and the hash that its bytes must have.
class BlobId {
 public:
  enum class Kind : std::uint8_t { git_sha1, sha256 };
  static Result<BlobId> parse(std::string_view hex);
  Kind kind() const { return hex_.size() == 64 ? Kind::sha256 : Kind::git_sha1; }
  const std::string& hex() const { return hex_; }
  auto operator<=>(const BlobId&) const = default;

 private:
  explicit BlobId(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

inline constexpr std::size_t kMostRepoPath = 4'000;  // PATH_MAX less the mount's own prefix
// A path inside a repository, as the tree gives it. Rejects (Code::corrupt) what must never reach
// the kernel: empty or absolute paths, empty, "." or ".." components, components over 255 bytes,
// NUL and control characters, paths over kMostRepoPath bytes.
Result<std::string> parse_repo_path(std::string_view path);

// Lowercase hex of exactly `length` digits.
bool is_hex(std::string_view text, std::size_t length);

// Names that clients make beside their downloads and that must never reach the Hub: "*.lock",
// "*.tmp", "*.incomplete", "tmp*".
bool is_side_name(std::string_view name);

}  // namespace hffs
