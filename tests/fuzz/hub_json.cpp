// SPDX-License-Identifier: Apache-2.0
//
// The Hub's JSON. An input: a letter that says which answer it is, and the body.
#include <set>

#include "answers.h"
#include "fuzz.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

const RepoId& asked() {
  static const RepoId repo = *RepoId::parse_user("datasets/acme/tiny");
  return repo;
}

void check_entries(std::string_view body) {
  const auto entries = hub::parse_entries(asked(), body);
  if (!entries) {
    MUST(entries.error().code == Code::unreachable);
    return;
  }
  std::set<std::string, std::less<>> files, directories, all;
  for (const TreeEntry& entry : *entries) {
    MUST(fuzz::is_safe_path(entry.path, kMostRepoPath));
    const bool file = entry.kind == TreeEntry::Kind::file;
    MUST(file == entry.blob.has_value());
    MUST(entry.size <= std::uint64_t{1} << 50);
    MUST(!file || BlobId::parse(entry.blob->hex()) == *entry.blob);
    if (file) MUST(files.insert(entry.path).second);
    else directories.insert(entry.path);
    for (std::size_t slash = entry.path.find('/'); slash != std::string::npos; slash = entry.path.find('/', slash + 1))
      directories.insert(entry.path.substr(0, slash));
  }
  for (const auto& file : files) MUST(!directories.contains(file));
}

void check_info(std::string_view body) {
  const auto info = hub::parse_repo_info(asked(), body);
  if (!info) {
    MUST(info.error().code == Code::unreachable);
    return;
  }
  MUST(info->commit && CommitId::parse(info->commit->hex()) == *info->commit);
  MUST(info->id.type() == asked().type());
  MUST(RepoId::parse(info->id.type(), info->id.name()) == info->id);
  MUST(RepoId::parse_layout(info->id.layout()) == info->id);
  MUST(info->last_modified.time_since_epoch().count() >= 0);
  MUST(info->tells_access || !info->is_private);
}

void check_refs(std::string_view body) {
  const auto list = hub::parse_refs(asked(), body);
  if (!list) {
    MUST(list.error().code == Code::unreachable);
    return;
  }
  for (const auto& ref : list->refs) MUST(fuzz::is_safe_path(ref.revision));
}

void check_user(std::string_view body) {
  const auto name = hub::parse_user_name(body);
  if (!name) return;
  MUST(!name->empty() && name->size() <= 200);
  MUST(std::ranges::all_of(*name, [](char c) { return c > ' ' && c < 0x7f; }));
}

}  // namespace

FUZZ_TARGET(input) {
  const std::uint8_t which = input.byte();
  const auto body = input.rest();
  switch (which) {
    case 'i': return check_info(body);
    case 'r': return check_refs(body);
    case 'u': return check_user(body);
    case 't': MUST(hub::parse_time(body) >= WallTime{}); return;
    default: return check_entries(body);
  }
}
