// SPDX-License-Identifier: Apache-2.0
#include "repo_at.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

namespace hffs::cli {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash != 0) parts.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return parts;
}

// refs/pr/1 is one part of a URL: refs%2Fpr%2F1.
std::string decode(std::string_view part) {
  std::string text;
  for (std::size_t i = 0; i < part.size(); ++i) {
    unsigned value = 0;
    const std::string_view digits = part.substr(std::min(i + 1, part.size()), 2);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (part[i] == '%' && digits.size() == 2 && parsed.ptr == digits.data() + 2) {
      text.push_back(static_cast<char>(value));
      i += 2;
    } else {
      text.push_back(part[i]);
    }
  }
  return text;
}

struct Named {
  std::string repo;
  std::optional<std::string> revision;
};

Named parse_name(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == text.npos) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

// What stands behind the host.
Named parse_url(std::string_view path) {
  path = path.substr(0, path.find_first_of("?#"));
  const auto parts = split(path);
  const bool typed = !parts.empty() && (parts[0] == "datasets" || parts[0] == "spaces");
  const auto is_word = [](std::string_view part) { return part == "tree" || part == "blob" || part == "resolve" || part == "raw"; };
  const auto word = std::ranges::find_if(parts, is_word);
  std::string name;
  for (auto part = parts.begin(); part != word && part - parts.begin() < (typed ? 3 : 2); ++part)
    name += (name.empty() ? "" : "/") + decode(*part);
  if (word == parts.end() || word + 1 == parts.end()) return {name, std::nullopt};
  return {name, decode(word[1])};
}

// hf://ORG/NAME@REV/FILE; a slash of the revision itself is written %2F.
Named parse_hf(std::string_view path) {
  const auto parts = split(path);
  std::size_t most = !parts.empty() && (parts[0] == "datasets" || parts[0] == "spaces" || parts[0] == "models") ? 3 : 2;
  std::string name;
  for (std::size_t i = 0; i < std::min(most, parts.size()); ++i) {
    if (i == 0 && parts[0] == "models") continue;
    name += (name.empty() ? "" : "/") + decode(parts[i]);
  }
  return parse_name(name);
}

// A path that has a repository's directory in it; nothing: there is none.
std::optional<Named> parse_path(std::string_view path) {
  const auto parts = split(path);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].find("--") == parts[i].npos) continue;
    const auto repo = RepoId::parse_layout(parts[i]);
    if (!repo) continue;
    Named named{repo->text(), std::nullopt};
    if (i + 2 >= parts.size() || (parts[i + 1] != "snapshots" && parts[i + 1] != "refs")) return named;
    named.revision = std::string(parts[i + 2]);
    // A ref's name may have slashes; a directory of a snapshot is no part of one.
    for (std::size_t j = i + 3; parts[i + 1] == "refs" && j < parts.size(); ++j)
      named.revision->append("/").append(parts[j]);
    return named;
  }
  return std::nullopt;
}

Named parse(std::string_view text) {
  for (const std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) {
      const std::string_view rest = text.substr(scheme.size());
      return parse_url(rest.substr(std::min(rest.find('/'), rest.size())));
    }
  if (text.starts_with("hf://")) return parse_hf(text.substr(5));
  // The name of a ref may look like a path in a cache, and is the Hub's: what stands before the @ is who is meant.
  if (auto named = parse_name(text); named.revision && RepoId::parse_user(named.repo)) return named;
  if (auto named = parse_path(text)) return std::move(*named);
  return parse_name(text);
}

}  // namespace

std::string RepoAt::text() const {
  return names_revision ? fmt::format("{}@{}", repo.text(), revision) : repo.text();
}

Result<RepoAt> parse_repo_at(const std::string& text) {
  const Named named = parse(text);
  const auto repo = RepoId::parse_user(named.repo);
  if (!repo)
    return fail(Code::invalid,
                "'{}' is not a repository; write ORG/NAME or datasets/ORG/NAME, or give its URL or a path of it",
                named.repo.empty() ? text : named.repo);
  if (!named.revision) return RepoAt{.repo = *repo};
  const auto revision = parse_revision(*named.revision);
  if (!revision)
    return fail(Code::invalid, "'{}' names no revision; write REPO@main, REPO@v1.0 or REPO@COMMIT", text);
  return RepoAt{.repo = *repo, .revision = *revision, .names_revision = true};
}

Result<RepoId> parse_repo(const std::string& text) {
  auto parsed = parse_repo_at(text);
  if (!parsed) return fail(parsed);
  if (parsed->names_revision)
    return fail(Code::invalid, "'{}' names a revision; this is about all of {}", text, parsed->repo.text());
  return parsed->repo;
}

}  // namespace hffs::cli
