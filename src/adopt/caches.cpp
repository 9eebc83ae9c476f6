// SPDX-License-Identifier: Apache-2.0
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>

#include "hffs/adopt.h"
#include "hffs/ids.h"

namespace hffs {
namespace {

namespace files = std::filesystem;

constexpr const char* kInHome = ".cache/huggingface/hub";

bool holds_repositories(const std::string& path) {
  std::error_code error;
  for (const auto& item : files::directory_iterator(path, error))
    if (RepoId::parse_layout(item.path().filename().string())) return true;
  return false;
}

class Finder {
 public:
  // A cache that is `owner`'s, or, nothing said, whoever's it is.
  bool add(const std::string& path, std::optional<uid_t> owner) {
    std::error_code error;
    const std::string real = files::canonical(path, error).string();
    struct stat status{};
    if (error || ::lstat(real.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return false;
    if (owner && status.st_uid != *owner) return false;
    if (!seen_.insert({status.st_dev, status.st_ino}).second) return true;
    caches_.push_back({real, status.st_uid});
    return true;
  }
  std::vector<UserCache> take() { return std::move(caches_); }

 private:
  std::vector<UserCache> caches_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

}  // namespace

Result<std::vector<UserCache>> find_caches(const std::vector<std::string>& given,
                                           const std::string& home_root) {
  Finder finder;
  for (const std::string& path : given) {
    bool found = false;
    for (const std::string& place : {path, path + "/hub", path + "/" + kInHome})
      found = found || (holds_repositories(place) && finder.add(place, std::nullopt));
    if (!found)
      return fail(Code::not_found, "{} is no Hugging Face cache: no models--ORG--NAME lies in it",
                  path);
  }
  std::error_code error;
  if (!home_root.empty()) {
    if (!files::is_directory(home_root, error))
      return fail(Code::not_directory, "{} is not a directory", home_root);
    for (const auto& home : files::directory_iterator(home_root, error))
      if (home.is_directory(error)) {
        struct stat status{};
        if (::stat(home.path().c_str(), &status) == 0)
          finder.add((home.path() / kInHome).string(), status.st_uid);
      }
  }
  if (given.empty() && home_root.empty()) {
    ::setpwent();
    while (const passwd* user = ::getpwent())
      finder.add(std::string(user->pw_dir) + "/" + kInHome, user->pw_uid);
    ::endpwent();
  }
  auto caches = finder.take();
  std::ranges::sort(caches, {}, &UserCache::path);
  return caches;
}

}  // namespace hffs
