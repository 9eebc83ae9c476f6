// SPDX-License-Identifier: Apache-2.0
//
// Paths of the Hub's calls, below an endpoint. Pure.
#pragma once

#include <string>
#include <vector>

#include "hffs/ids.h"
#include "url.h"

namespace hffs::hub {

std::string api_path(const RepoId& repo);  // "/api/datasets/acme/rows"
std::string revision_path(const RepoId& repo, const std::string& revision, bool expand);
std::string tree_path(const RepoId& repo, const CommitId& commit);
// The first entry of a directory, which tells that it is one.
std::string directory_path(const RepoId& repo, const CommitId& commit, const std::string& path);
std::string paths_info_path(const RepoId& repo, const CommitId& commit);
std::string refs_path(const RepoId& repo);
std::string auth_check_path(const RepoId& repo);
inline constexpr std::string_view kWhoAmI = "/api/whoami-v2";
// Not below /api; models have no prefix there.
std::string resolve_path(const RepoId& repo, const std::string& revision, const std::string& path);
// The form of paths-info. Two servers answer JSON with 422.
std::string paths_form(const std::vector<std::string>& paths);

// Cursors of a listing: how many pages came before, and the next page's path below the endpoint.
// What the Hub's Link names is followed below the endpoint whatever origin it names.
struct Cursor {
  int pages = 0;
  std::string path;
};
// The endless listing of a hostile Hub ends after so many pages.
inline constexpr int kMostPages = 20'000;
std::string write_cursor(const Cursor& cursor);
// Nothing: no cursor of ours, or not of this commit.
Result<Cursor> read_cursor(std::string_view text, const CommitId& commit);
// Where `link` points, below `endpoint`; refused if that is no listing of this commit.
Result<std::string> next_page_path(const Url& endpoint, const Url& here, std::string_view link,
                                   const CommitId& commit);

}  // namespace hffs::hub
