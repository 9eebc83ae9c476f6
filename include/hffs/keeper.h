// SPDX-License-Identifier: Apache-2.0
//
// Keeper: what is privileged or must not be lost, a process of its own. It mounts, holds the
// /dev/fuse descriptor and the Handover, registers backing files for passthrough, and starts the worker,
// which does everything else, again when that ends by itself. It parses nothing from outside and takes
// blob *names* from the worker, never descriptors: the kernel re-opens a backing path with the
// registrar's rights, so a registered foreign descriptor would give its file away.
//
// Threads: see each class; run_keeper() wants a process without any other.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/handover.h"
#include "hffs/ids.h"
#include "hffs/posix.h"

namespace hffs {

struct MountOptions {
  std::string mount_point;  // absolute
  std::string source = "hffs";
  bool allow_other = false;
  // Where the blobs are that open_backing() may register: BLOBS/HH/HEX, and whose. Empty: none may be.
  std::string blobs;
  uid_t owner = 0;
};

// The keeper as the worker sees it.
// Threads: any. Calls wait for the keeper, which blocks on the local disk, and in mount() and unmount()
// on fusermount3 where there is no root.
class Keeper {
 public:
  virtual ~Keeper() = default;
  // What the worker before left, or leaves: that may serve still. Its session can be looked at.
  virtual Result<std::unique_ptr<Handover>> handover() = 0;
  // Returns when no other worker is there any more: this one can serve, and takes over.
  virtual Result<void> take_turn() = 0;
  // The connected descriptor, which the session runs on. The first worker's call mounts: a dead mount
  // left behind by a killed keeper (ENOTCONN, type fuse.hffs) is replaced. Errors: not_found (no such
  // directory), busy (something is mounted there), not_empty, unsupported (no /dev/fuse, no
  // fusermount3), denied; each message says what to do.
  virtual Result<UniqueFd> mount() = 0;
  // Whether open_backing() has a chance, as far as can be known without a try. Error: denied.
  virtual Result<void> may_back() = 0;
  // Registers the blob's file with the kernel, which then reads it by itself (FUSE passthrough,
  // Linux 6.9 and later). The file is found by name below `blobs`, without following a link, and
  // must be a regular one of the worker's user that has one name. The id is good for replies to OPEN until
  // it is closed; opens that have it keep the file. Blocks on the local disk.
  // Errors: denied (no CAP_SYS_ADMIN), unsupported (the kernel; a file system that is stacked on
  // others); these two are lasting. Else not_found, refused (not such a file), io.
  virtual Result<std::int32_t> open_backing(const BlobId& blob) = 0;
  virtual void close_backing(std::int32_t id) = 0;

  // A process with this user's rights and a few seconds to live looks for the user's token of the Hub, where the
  // Hub's clients would if they ran in `process` (0: none is known), and writes '+' and the token to what is returned;
  // only the '+' if there is none, and nothing if it could not look. unsupported: the keeper is not root.
  virtual Result<UniqueFd> read_token(uid_t user, pid_t process) = 0;

  // Detaches the mount. Fine if it is gone already.
  virtual Result<void> unmount() = 0;
  // Ends the connection: who has files of it open gets errors.
  virtual void abort() = 0;

  // As SIGUSR1 to run_keeper(): this one cannot do any more what its successor could. Who asks often is heard
  // ever more seldom.
  virtual void ask_replacement() = 0;

  // The mount answers; or this worker cannot serve it, and ends.
  virtual void tell_ready() = 0;
  virtual void tell_failed(const Error& why) = 0;
};

// In a worker: `socket` is what run_keeper() left it. The keeper's end is this process's; from handover() on it hears
// that this process is alive, each second, by a thread.
std::unique_ptr<Keeper> connect_keeper(UniqueFd socket);

// In the keeper's process: returns when the mount is gone. SIGTERM, SIGINT and SIGHUP end the worker, and the
// mount. SIGUSR1 replaces the worker by one of the program and the settings as they are now; if that one
// cannot serve, the old one goes on. One thread, the caller's, of a process that has no other.
inline constexpr int kWorkerSocket = 3;
struct KeeperOptions {
  MountOptions mount;
  // The worker: a program and its arguments. Its socket is descriptor kWorkerSocket.
  std::vector<std::string> worker;
  UniqueFd directory;  // where it begins; none: here
  int inherited = -1;  // a descriptor that it gets as well, under the number that it has here; none: -1
  std::function<void()> ready;  // the first time
  bool service = false;  // says how it goes to the service manager that $NOTIFY_SOCKET names, if any
  // A worker that was not heard of for so long is ended.
  std::chrono::milliseconds patience{4'000};
};
// What the first worker failed with, if it did not come to serve.
Result<void> run_keeper(const KeeperOptions& options);

// The mounts of hffs that this process sees, in the kernel's order: living, dead, and other users'.
struct HffsMount {
  std::string mount_point;
  uid_t user = 0;  // who mounted
  bool allow_other = false;
};
Result<std::vector<HffsMount>> list_mounts();
// What Keeper::mount() would refuse there; nothing is changed. A dead mount is no reason, a living one is.
Result<void> check_mount_point(const std::string& path);

// Ends the mount at `mount_point`, whoever serves it: unmounts, lazily if `lazy`. not_found if
// nothing of type fuse.hffs is mounted there; busy if files are open.
Result<void> unmount(const std::string& mount_point, bool lazy);

}  // namespace hffs
