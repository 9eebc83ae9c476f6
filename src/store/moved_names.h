// SPDX-License-Identifier: Apache-2.0
//
// MovedNames: files that were moved into blobs/ and whose new names are not durable yet. The old name must
// not be gone for good before the new one is there for good, for the index still claims the bytes: a
// directory that files leave is synced only through here, after those that they went to.
//
// Threads: any; calls block on the disk, one at a time.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "hffs/posix.h"

namespace hffs {

class MovedNames {
 public:
  explicit MovedNames(Disk& disk) : disk_(disk) {}

  // Moves a file to a name in `folder`.
  Result<void> move(const std::string& from, const std::string& to, const std::string& folder);
  // `folder` has a new name in it.
  void note(const std::string& folder);
  // All of them. What fails stays noted.
  Result<void> sync();
  // … and then `directory`, which files may have left.
  Result<void> sync_source(const std::string& directory);

 private:
  Result<void> sync_noted();

  Disk& disk_;
  std::mutex mutex_;
  std::set<std::string> folders_;
};

}  // namespace hffs
