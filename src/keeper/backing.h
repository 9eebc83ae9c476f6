// SPDX-License-Identifier: Apache-2.0
//
// Backing files: blobs that the kernel reads by itself. The kernel re-opens what is registered with the
// rights of who registers, so what may be registered is checked here, by name.
//
// Source: Linux include/uapi/linux/fuse.h (FUSE_DEV_IOC_BACKING_OPEN, struct fuse_backing_map) and
// fs/fuse/passthrough.c (who may: CAP_SYS_ADMIN; ELOOP where the file's file system is stacked).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "hffs/ids.h"
#include "hffs/posix.h"

namespace hffs {

class BackingFiles {
 public:
  // `device`: any descriptor of the connection. `blobs` empty: nothing may be registered; `owner`: whose they are.
  static Result<BackingFiles> open(UniqueFd device, const std::string& blobs, uid_t owner);

  Result<std::int32_t> add(const BlobId& blob) const;
  void remove(std::int32_t id) const;

 private:
  Result<UniqueFd> open_blob(const BlobId& blob) const;

  UniqueFd device_, blobs_;
  uid_t owner_ = 0;
};

}  // namespace hffs
