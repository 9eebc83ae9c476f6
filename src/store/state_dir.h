// SPDX-License-Identifier: Apache-2.0
//
// The directory of a store: which one may be used, who has it, and the name of every file in it.
// Threads: open() on one; the names from any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/posix.h"

namespace hffs {

class StateDir {
 public:
  // Makes what is missing, takes the lock, checks the format. Blocks on the disk.
  static Result<StateDir> open(const std::string& state_dir, Disk& disk);

  const std::string& root() const { return root_; }
  std::string index() const { return root_ + "/index"; }
  std::string filling() const { return root_ + "/filling"; }
  std::string filling(std::uint64_t number) const;
  std::string blobs() const { return root_ + "/blobs"; }
  std::string blobs(const BlobId& id) const;  // the directory that blob(id) is in
  std::string blob(const BlobId& id) const;
  std::string quarantine() const { return root_ + "/quarantine"; }
  std::string damaged() const { return root_ + "/damaged"; }
  std::string quarantine(const BlobId& id, std::uint64_t number, std::uint32_t incarnation) const;
  // A directory beside these: lowercase letters, and none of their names, else Code::invalid.
  Result<std::string> for_others(std::string_view name) const;

 private:
  Result<void> lock();
  Result<void> open_format(Disk& disk);

  std::string root_;
  UniqueFd lock_;
};

// The text of FORMAT, and whether `text` is it: Code::unsupported says what was found and what to
// do.
std::string format_text();
Result<void> check_format(std::string_view text, std::string_view path);

// The name of a network or user-space file system, by statfs's magic; empty for all others.
std::string_view network_file_system(std::uint64_t magic);

}  // namespace hffs
