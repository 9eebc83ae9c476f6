// SPDX-License-Identifier: Apache-2.0
//
// The mount, its descriptor and its backing files, in the process that owns them.
// Threads: one. mount() and unmount() block.
#pragma once

#include <optional>
#include <string>

#include "backing.h"
#include "hffs/keeper.h"

namespace hffs {

// See Keeper, whose calls come here.
class MountOwner {
 public:
  Result<UniqueFd> mount(const MountOptions& options);
  static Result<void> may_back();
  Result<std::int32_t> open_backing(const BlobId& blob);
  void close_backing(std::int32_t id);
  Result<void> unmount();
  void abort();

 private:
  std::string mount_point_;  // empty: not mounted
  std::string device_number_;
  std::optional<BackingFiles> backing_;
};

}  // namespace hffs
