// SPDX-License-Identifier: Apache-2.0
//
// Names: of repositories, refs, paths and blobs, and what people type for them. An input: three lines, each of which is
// taken for any of these.
#include "fuzz.h"
#include "hffs/globs.h"
#include "hffs/ids.h"
#include "repo_at.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

void check_repo(const RepoId& repo) {
  MUST(!repo.name().empty() && repo.name().size() <= 96);
  MUST(repo.name().find("..") == std::string::npos && repo.name().find("--") == std::string::npos);
  // The directory is one name, and no other repository's.
  const std::string layout = repo.layout();
  MUST(fuzz::is_safe_path(layout) && layout.find('/') == std::string::npos && layout.size() <= 255);
  MUST(RepoId::parse_layout(layout) == repo);
  MUST(RepoId::parse(repo.type(), repo.name()) == repo);
}

void check_ids(std::string_view text) {
  for (const auto type : {RepoType::model, RepoType::dataset, RepoType::space, RepoType::kernel})
    if (const auto repo = RepoId::parse(type, text)) {
      check_repo(*repo);
      MUST(repo->name() == text);
    }
  if (const auto repo = RepoId::parse_layout(text)) {
    check_repo(*repo);
    MUST(repo->layout() == text);
  }
  if (const auto repo = RepoId::parse_user(text)) {
    check_repo(*repo);
    MUST(RepoId::parse_user(repo->text()) == *repo);
  }
  if (const auto path = parse_repo_path(text)) MUST(*path == text && fuzz::is_safe_path(text));
  else MUST(!fuzz::is_safe_path(text));
  if (const auto revision = parse_revision(text)) MUST(*revision == text && fuzz::is_safe_path(text));
  if (const auto commit = CommitId::parse(text)) MUST(commit->hex() == text && fuzz::is_safe_path(text));
  if (const auto blob = BlobId::parse(text)) {
    MUST(blob->hex() == text && fuzz::is_safe_path(text));
    MUST((blob->kind() == BlobId::Kind::sha256) == (text.size() == 64));
  }
  (void)is_side_name(text);
}

void check_typed(const std::string& text) {
  const auto typed = cli::parse_repo_at(text);
  const auto whole = cli::parse_repo(text);
  if (!typed) {
    MUST(typed.error().code == Code::invalid && !whole);
    return;
  }
  check_repo(typed->repo);
  MUST(fuzz::is_safe_path(typed->revision));
  MUST(whole.has_value() == !typed->names_revision);
  // What it is called is understood again.
  const auto again = cli::parse_repo_at(typed->text());
  MUST(again && again->repo == typed->repo && again->revision == typed->revision);
}

}  // namespace

FUZZ_TARGET(input) {
  const auto first = input.line();
  const std::string second(input.line()), third(input.rest());
  for (const std::string_view text : {first, std::string_view(second), std::string_view(third)}) {
    check_ids(text);
    check_typed(std::string(text));
  }
  if (first.size() > 64 || second.size() > 256) return;  // fnmatch(3) takes its time with many stars
  const std::string pattern(first);
  const bool in = Globs{.include = {pattern}, .exclude = {}}.takes(second);
  const bool out = Globs{.include = {}, .exclude = {pattern}}.takes(second);
  MUST(in != out);
  MUST(Globs{}.takes(second));
  MUST(!Globs({.include = {pattern}, .exclude = {pattern}}).takes(second));
}
