// SPDX-License-Identifier: Apache-2.0
//
// Folder: a directory of somebody else's, read without ever leaving it: a link that leads out is
// refused by the kernel at the open itself, since what it leads to may be nobody's business. Who looks
// into it is a Looker: this process, or one that has the rights and lends it (lending.h).
// Threads: a value with one owner; all calls block on that file system, or on who lends it.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs {

// Why a file was left out.
enum class Skip : std::uint8_t {
  partial,       // a download that did not end
  broken_link,   // leads nowhere
  outside,       // leads out of the folder
  wrong_bytes,   // hash or size is not what it must be
  unreadable,
  not_in_tree,   // the Hub's tree of the commit has no such file or content
  unreferenced,  // a blob that no snapshot names
  bad_name,      // cannot stand in a repository
  unconfirmed,   // the Hub does not list it, and a folder's word is not wanted
};
std::string_view name_of(Skip why);

struct Skipped {
  std::string path;
  Skip why = Skip::unreadable;
  std::string reason;  // a sentence for people; with both hashes where it is about hashes
  bool passing = false;  // the disk, or a server, may do better another time
};

// What tells whether a file's content is still what it was.
struct Stamp {
  std::uint64_t inode = 0, size = 0;
  std::int64_t modified = 0, changed = 0;  // ns
  bool operator==(const Stamp&) const = default;
};

// The questions of a Folder. A place is a path below the directory, "" the directory itself.
class Looker {
 public:
  struct Item {
    std::string name;
    mode_t type = 0;  // S_IFMT of the name itself
  };
  using Identity = std::pair<dev_t, ino_t>;  // st_dev and st_ino

  virtual ~Looker() = default;
  virtual Result<std::vector<Item>> list(const std::string& place) = 0;
  virtual Result<UniqueFd> open_file(const std::string& place) = 0;  // to be read; perhaps no regular one
  virtual Result<std::string> read_link(const std::string& place) = 0;
  virtual Result<Identity> identity(const std::string& place) = 0;  // of a directory, not through a link
  // Code::cancelled: nobody looks any more, and what was found may lack anything.
  virtual Result<void> check() { return {}; }
};

class Folder {
 public:
  // `beat` hears before each call to the file system: who waits for a folder that may hang sees by
  // it that this one does not.
  static Result<Folder> open(const std::string& path, std::function<void()> beat = {});
  Folder(std::string path, std::shared_ptr<Looker> looker) : path_(std::move(path)), looker_(std::move(looker)) {}

  using Item = Looker::Item;
  // By name; without "." and "..".
  Result<std::vector<Item>> list(const std::string& place) const;
  // False for what is not there, and for links.
  Result<bool> is_directory(const std::string& place) const;
  // A regular file, through links that stay inside.
  struct File {
    UniqueFd fd;
    std::uint64_t size = 0;
    Stamp stamp;
  };
  Result<File> open_file(const std::string& place) const;
  Result<std::string> read_link(const std::string& place) const;
  // At most `most` bytes; Code::invalid if there are more.
  Result<std::string> read_small(const std::string& place, std::size_t most) const;
  Result<Looker::Identity> identity(const std::string& place) const { return looker_->identity(place); }
  Result<void> check() const { return looker_->check(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::shared_ptr<Looker> looker_;
};

Result<Stamp> stamp_of(int fd);

// All bytes of an open file of this size, in order, until `take` fails. Code::corrupt where it ends
// early, Code::cancelled on a stop.
Result<void> read_pieces(int fd, std::uint64_t size, const std::stop_token& stop,
                         const std::function<Result<void>(std::uint64_t at,
                                                          std::span<const std::byte> piece)>& take);

// Why a file that open_file() refused is left out.
Skipped refused(const std::string& place, const Error& error);

}  // namespace hffs
