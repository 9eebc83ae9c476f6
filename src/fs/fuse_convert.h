// SPDX-License-Identifier: Apache-2.0
//
// Between the words of hffs and those of the FUSE protocol. Threads: pure functions.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <vector>

#include "fuse_api.h"
#include "hffs/filesystem.h"

namespace hffs::fs {

struct stat to_stat(const Attr& attr);
fuse_entry_param to_entry(const Entry& entry);
double to_seconds(Ttl ttl);
Caller to_caller(fuse_req_t request);
SetAttr to_change(const struct stat& wanted, int which, WallTime now);

// A page of a directory. Its offsets: 1 and 2 are "." and "..", the others an item's cookie + 2.
class DirectoryPage {
 public:
  DirectoryPage(fuse_req_t request, NodeId directory, std::uint64_t offset, std::size_t size);
  // Where the items go on, and how many can fit.
  std::uint64_t cookie() const { return cookie_; }
  std::size_t most() const;
  void fill(const std::vector<DirItem>& items);
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  bool add(const char* name, NodeId node, FileKind kind, std::uint64_t offset);

  fuse_req_t request_;
  std::size_t size_;
  std::uint64_t cookie_ = 0;
  std::vector<char> bytes_;
};

}  // namespace hffs::fs
