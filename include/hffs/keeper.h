// SPDX-License-Identifier: Apache-2.0
//
// Keeper: what is privileged or must not be lost. It mounts, holds the /dev/fuse descriptor, and
// registers backing files for passthrough. It parses nothing from outside and takes blob *names*,
// never descriptors: the kernel re-opens a backing path with the registrar's rights, so a
// registered foreign descriptor would give its file away.
//
// In one process with the daemon today; the interface is what a separate process will speak.
// Threads: any. mount() and unmount() block (they run fusermount3 without root).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/posix.h"

namespace hffs {

struct MountOptions {
  std::string mount_point;  // absolute
  std::string source = "hffs";
  bool allow_other = false;
  // Where the blobs are that open_backing() may register: BLOBS/HH/HEX. Empty: none may be.
  std::string blobs;
};

class Keeper {
 public:
  virtual ~Keeper() = default;
  // Mounts and returns the connected descriptor; the session runs on it. A dead mount left behind
  // by a killed daemon (ENOTCONN, type fuse.hffs) is replaced. Errors: not_found (no such
  // directory), busy (something is mounted there), not_empty, unsupported (no /dev/fuse, no
  // fusermount3), denied; each message says what to do.
  virtual Result<UniqueFd> mount(const MountOptions& options) = 0;
  // Whether open_backing() has a chance, as far as can be known without a try. Error: denied.
  virtual Result<void> may_back() const = 0;
  // Registers the blob's file with the kernel, which then reads it by itself (FUSE passthrough,
  // Linux 6.9 and later). The file is found by name below `blobs`, without following a link, and
  // must be a regular one that is ours and has one name. The id is good for replies to OPEN until
  // it is closed; opens that have it keep the file. Blocks on the local disk.
  // Errors: denied (no CAP_SYS_ADMIN), unsupported (the kernel; a file system that is stacked on
  // others); these two are lasting. Else not_found, refused (not such a file), io.
  virtual Result<std::int32_t> open_backing(const BlobId& blob) = 0;
  virtual void close_backing(std::int32_t id) = 0;

  // Detaches the mount. Fine if it is gone already.
  virtual Result<void> unmount() = 0;
};

std::unique_ptr<Keeper> in_process_keeper();

// Ends the mount at `mount_point`, whoever serves it: unmounts, lazily if `lazy`. not_found if
// nothing of type fuse.hffs is mounted there; busy if files are open.
Result<void> unmount(const std::string& mount_point, bool lazy);

}  // namespace hffs
