// SPDX-License-Identifier: Apache-2.0
#include "paths.h"

#include "headers.h"

namespace hffs::hub {
namespace {

bool is_listing(std::string_view path, const CommitId& commit) {
  const std::size_t question = path.find('?');
  return path.starts_with("/api/") &&
         path.substr(0, question).find("/tree/" + commit.hex()) != path.npos;
}

}  // namespace

std::string api_path(const RepoId& repo) {
  return fmt::format("/api/{}/{}", plural(repo.type()), encode_path(repo.name()));
}

std::string revision_path(const RepoId& repo, const std::string& revision, bool expand) {
  return fmt::format("{}/revision/{}{}", api_path(repo), encode_segment(revision),
                     expand ? "?expand=sha&expand=lastModified&expand=private&expand=gated" : "");
}

std::string tree_path(const RepoId& repo, const CommitId& commit) {
  return fmt::format("{}/tree/{}?recursive=true&expand=false", api_path(repo), commit.hex());
}

std::string directory_path(const RepoId& repo, const CommitId& commit, const std::string& path) {
  return fmt::format("{}/tree/{}/{}?limit=1&expand=false", api_path(repo), commit.hex(),
                     encode_path(path));
}

std::string paths_info_path(const RepoId& repo, const CommitId& commit) {
  return fmt::format("{}/paths-info/{}", api_path(repo), commit.hex());
}

std::string refs_path(const RepoId& repo) {
  return api_path(repo) + "/refs?include_prs=1";
}

std::string auth_check_path(const RepoId& repo) {
  return api_path(repo) + "/auth-check";
}

std::string resolve_path(const RepoId& repo, const std::string& revision, const std::string& path) {
  return fmt::format("{}/{}/resolve/{}/{}",
                     repo.type() == RepoType::model ? "" : fmt::format("/{}", plural(repo.type())),
                     encode_path(repo.name()), encode_segment(revision), encode_path(path));
}

std::string paths_form(const std::vector<std::string>& paths) {
  std::string form;
  for (const std::string& path : paths) form += "paths=" + encode_segment(path) + '&';
  return form + "expand=false";
}

std::string write_cursor(const Cursor& cursor) {
  return fmt::format("{} {}", cursor.pages, cursor.path);
}

Result<Cursor> read_cursor(std::string_view text, const CommitId& commit) {
  const std::size_t space = text.find(' ');
  const auto pages = parse_number(text.substr(0, space));
  if (space == text.npos || !pages || *pages > kMostPages ||
      !is_listing(text.substr(space + 1), commit))
    return fail(Code::invalid, "not a cursor of this listing");
  return Cursor{static_cast<int>(*pages), std::string(text.substr(space + 1))};
}

Result<std::string> next_page_path(const Url& endpoint, const Url& here, std::string_view link,
                                   const CommitId& commit) {
  const auto url = resolve_url(here, link);
  std::string path = url ? url->path : "";
  if (path.starts_with(endpoint.path + '/')) path.erase(0, endpoint.path.size());
  if (!url || !is_listing(path, commit))
    return fail(Code::unreachable, "the next page is not one of this listing");
  return url->query.empty() ? path : path + '?' + url->query;
}

}  // namespace hffs::hub
