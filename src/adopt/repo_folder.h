// SPDX-License-Identifier: Apache-2.0
//
// One repository's folder in a user's cache, held open: what is done is done to the directory that was
// opened, whatever its user puts in its place. Threads: a value with one owner; all calls block on that
// file system.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::adopt {

// What stands at a name in a cache.
enum class Stands : std::uint8_t { nothing, link, directory, other };
struct Standing {
  Stands what = Stands::nothing;
  std::string target;  // of a link
  dev_t device = 0;
  ino_t inode = 0;
};

// A cache's directory.
class CacheDirectory {
 public:
  // Code::denied: it is not this user's.
  static Result<CacheDirectory> open(const std::string& path, uid_t user);
  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  const struct stat& status() const { return status_; }
  std::vector<std::string> repositories() const;  // names of the layout, and what stands there
  Standing look(const std::string& name) const;

  Result<void> make_link(const std::string& name, const std::string& target);  // of the cache's owner
  Result<void> exchange(const std::string& one, const std::string& other);
  Result<void> move(const std::string& from, const std::string& to);  // nothing stands there
  Result<void> remove_link(const std::string& name);
  // All below a directory that is this one; links are removed, not followed.
  Result<void> remove_tree(const std::string& name, ino_t inode);
  Result<void> sync();

 private:
  std::string path_;
  UniqueFd fd_;
  struct stat status_{};
};

struct Item {
  std::string path;  // below the folder
  mode_t mode = 0;
  ino_t inode = 0;
  std::uint64_t size = 0, device = 0;
  std::int64_t modified = 0, changed = 0;  // nanoseconds
  bool operator==(const Item&) const = default;
};

class RepoFolder {
 public:
  // Code::denied, refused: not a directory of the cache's owner, or a file system of its own.
  static Result<RepoFolder> open(const CacheDirectory& cache, const std::string& name);
  const std::string& path() const { return path_; }
  const struct stat& status() const { return status_; }
  // All that is in it, by path. Nothing is followed.
  Result<std::vector<Item>> items() const;
  // Files of snapshots, with the sizes that they have through their links.
  struct File {
    std::string commit, path;
    std::uint64_t size = 0;
  };
  Result<std::vector<File>> files(const std::vector<Item>& items) const;

 private:
  std::string path_;
  UniqueFd fd_;
  struct stat status_{};
};

// Why the folder must stay, as far as can be seen: what no client makes, partial downloads, and links
// that lead nowhere; else empty.
std::string problem_of(const RepoFolder& folder, const std::vector<Item>& items);
// The blobs among the items.
std::vector<Item> blobs_of(const std::vector<Item>& items);

}  // namespace hffs::adopt
