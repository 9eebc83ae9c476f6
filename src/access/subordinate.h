// SPDX-License-Identifier: Apache-2.0
//
// Whose uids the ranges of /etc/subuid are: a container's users are those of who runs it. Read once.
// Threads: load() blocks on the local disk and the user database; owner_of(): any, pure.
// Source: subuid(5): NAME-OR-UID:FIRST:COUNT.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace hffs::access {

class SubordinateUsers {
 public:
  // A file that is not there has no ranges; a line that cannot be read is passed over.
  static SubordinateUsers load(const std::string& path);
  // Itself, where it is in nobody's range.
  uid_t owner_of(uid_t user) const;

 private:
  struct Range {
    std::uint64_t first = 0, count = 0;
    uid_t owner = 0;
  };
  std::vector<Range> ranges_;
};

}  // namespace hffs::access
