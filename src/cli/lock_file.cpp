// SPDX-License-Identifier: Apache-2.0
#include "lock_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "hffs/ids.h"
#include "hffs/json_text.h"
#include "hffs/posix.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

bool is_sound(const json& repo) {
  const auto text = [](const json& of, const char* name) {
    return of.is_object() && of.contains(name) && of.at(name).is_string();
  };
  if (!text(repo, "repo") || !text(repo, "commit") || !RepoId::parse_user(repo.at("repo").get<std::string>()) ||
      !CommitId::parse(repo.at("commit").get<std::string>()))
    return false;
  if (!repo.contains("refs") || !repo.at("refs").is_array() || !repo.contains("files") ||
      !repo.at("files").is_array())
    return false;
  for (const json& ref : repo.at("refs"))
    if (!ref.is_string() || !parse_revision(ref.get<std::string>())) return false;
  for (const json& file : repo.at("files"))
    if (!text(file, "path") || !text(file, "hash") || !file.contains("size") ||
        !file.at("size").is_number_unsigned() || !parse_repo_path(file.at("path").get<std::string>()) ||
        !BlobId::parse(file.at("hash").get<std::string>()))
      return false;
  return true;
}

}  // namespace

Result<void> write_lock_file(const json& repos, const std::string& path) {
  const json all{{"hffs_lock", kVersion}, {"repos", repos}};
  const std::string text = pretty_json(all) + '\n';
  if (path == "-") {
    fmt::print("{}", text);
    return {};
  }
  const std::string temporary = path + ".tmp";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text << std::flush;
    if (!file) return fail(system_error(errno != 0 ? errno : EIO, fmt::format("writing {}", temporary)));
  }
  return system_disk().rename(temporary, path);
}

Result<json> load_lock_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(system_error(errno != 0 ? errno : EIO, fmt::format("reading {}", path)));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const json parsed = parse_json(text);
  if (!parsed.is_object() || !parsed.contains("hffs_lock") || !parsed.contains("repos") ||
      !parsed.at("repos").is_array())
    return fail(Code::invalid, "{} is no lock file; `hffs lock -o {} -- COMMAND` writes one", path, path);
  if (parsed.at("hffs_lock") != kVersion)
    return fail(Code::unsupported, "{} was written by a newer hffs", path);
  for (const json& repo : parsed.at("repos"))
    if (!is_sound(repo))
      return fail(Code::invalid, "{} was changed: '{}' is not what `hffs lock` writes", path,
                  json_text(repo).substr(0, 200));
  return parsed.at("repos");
}

}  // namespace hffs::cli
