// SPDX-License-Identifier: Apache-2.0
#include "hffs/ids.h"

#include <array>

namespace hffs {
namespace {

constexpr std::array kTypes{RepoType::model, RepoType::dataset, RepoType::space, RepoType::kernel};
constexpr std::size_t kMostIdBytes = 96;
constexpr std::size_t kMostComponent = 255;  // NAME_MAX: what the kernel accepts in a directory

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool is_id_part(std::string_view part) {
  if (part.empty()) return false;
  for (char c : part)
    if (!is_id_character(c)) return false;
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  return !edge(part.front()) && !edge(part.back());
}

// Calls `check` on each component; false as soon as one fails.
template <class Check>
bool all_components(std::string_view path, Check check) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!check(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_plain_component(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > kMostComponent) return false;
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return true;
}

}  // namespace

std::string_view plural(RepoType type) {
  switch (type) {
    case RepoType::model: return "models";
    case RepoType::dataset: return "datasets";
    case RepoType::space: return "spaces";
    case RepoType::kernel: return "kernels";
  }
  return "models";
}

Result<RepoId> RepoId::parse(RepoType type, std::string_view name) {
  const auto reject = [&](std::string_view why) {
    return fail(Code::invalid, "'{}' is not a repository id: {}", name, why);
  };
  if (name.empty() || name.size() > kMostIdBytes) return reject("it must have 1 to 96 characters");
  if (name.find("--") != name.npos || name.find("..") != name.npos)
    return reject("'--' and '..' are not allowed");
  if (name.ends_with(".git")) return reject("it must not end in '.git'");
  const std::size_t slash = name.find('/');
  const std::string_view first = name.substr(0, slash);
  const bool well_formed =
      slash == name.npos ? is_id_part(first)
                         : is_id_part(first) && is_id_part(name.substr(slash + 1));
  if (!well_formed)
    return reject("expected ORG/NAME of letters, digits, '.', '_' and '-', "
                  "neither part beginning or ending with '.' or '-'");
  return RepoId(type, std::string(name));
}

Result<RepoId> RepoId::parse_layout(std::string_view directory) {
  for (const RepoType type : kTypes) {
    const std::string_view prefix = plural(type);
    if (!directory.starts_with(prefix) || !directory.substr(prefix.size()).starts_with("--"))
      continue;
    std::string name(directory.substr(prefix.size() + 2));
    if (const std::size_t dashes = name.find("--"); dashes != name.npos)
      name.replace(dashes, 2, "/");
    if (auto id = parse(type, name); id && id->layout() == directory) return id;
    break;
  }
  return fail(Code::not_found, "'{}' is not a repository folder of a Hugging Face cache", directory);
}

Result<RepoId> RepoId::parse_user(std::string_view text) {
  for (const RepoType type : kTypes) {
    const std::string_view prefix = plural(type);
    if (text.starts_with(prefix) && text.substr(prefix.size()).starts_with("/"))
      return parse(type, text.substr(prefix.size() + 1));
  }
  return parse(RepoType::model, text);
}

std::string RepoId::layout() const {
  std::string name = name_;
  if (const std::size_t slash = name.find('/'); slash != name.npos) name.replace(slash, 1, "--");
  return fmt::format("{}--{}", plural(type_), name);
}

std::string RepoId::text() const {
  return type_ == RepoType::model ? name_ : fmt::format("{}/{}", plural(type_), name_);
}

Result<CommitId> CommitId::parse(std::string_view hex) {
  if (!is_hex(hex, 40) && !is_hex(hex, 64))
    return fail(Code::invalid, "'{}' is not a commit: expected 40 or 64 hex digits",
                hex.substr(0, 80));
  return CommitId(std::string(hex));
}

Result<std::string> parse_revision(std::string_view text) {
  if (text.size() > kMostRepoPath || !all_components(text, is_plain_component))
    return fail(Code::invalid, "'{}' is not a revision", text.substr(0, 80));
  return std::string(text);
}

Result<BlobId> BlobId::parse(std::string_view hex) {
  if (!is_hex(hex, 40) && !is_hex(hex, 64))
    return fail(Code::corrupt, "'{}' is not a content hash: expected 40 or 64 hex digits",
                hex.substr(0, 80));
  return BlobId(std::string(hex));
}

Result<std::string> parse_repo_path(std::string_view path) {
  if (path.size() > kMostRepoPath || !all_components(path, is_plain_component))
    return fail(Code::corrupt, "the tree names a path that no file system can hold: '{}'",
                path.substr(0, 80));
  return std::string(path);
}

bool is_hex(std::string_view text, std::size_t length) {
  if (text.size() != length) return false;
  for (char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  return true;
}

bool is_side_name(std::string_view name) {
  return name.ends_with(".lock") || name.ends_with(".tmp") || name.ends_with(".incomplete") ||
         name.starts_with("tmp");
}

}  // namespace hffs
