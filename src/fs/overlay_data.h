// SPDX-License-Identifier: Apache-2.0
//
// DataFile: the bytes of one overlay file. Once closed to writers nobody can change them any more,
// not through a descriptor that is still open either.
// Threads: any; calls block on the local disk.
#pragma once

#include <chrono>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/clock.h"
#include "hffs/posix.h"

namespace hffs::fs {

class DataFile {
 public:
  DataFile(Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  Result<void> create();
  Result<void> open();  // counted
  void close();
  Result<std::vector<std::byte>> read(ByteRange range) const;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
  Result<void> truncate(std::uint64_t size);
  Result<void> sync();
  Result<void> set_modified(WallTime time);
  struct State {
    std::uint64_t size = 0;
    WallTime modified{};
  };
  Result<State> state() const;

  // Waits for writes under way; later ones are refused.
  void close_to_writers();
  void open_to_writers();

 private:
  // The open descriptor, or one for this call.
  class Use;
  Result<UniqueFd> open_now() const;

  Disk& disk_;
  const std::string path_;
  mutable std::shared_mutex gate_;
  UniqueFd file_;
  std::uint32_t opens_ = 0;
  bool closed_ = false;
};

}  // namespace hffs::fs
