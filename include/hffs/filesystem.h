// SPDX-License-Identifier: Apache-2.0
//
// FileSystem: docs/SEMANTICS.md as a class: the published tree, and per uid what clients write. No
// FUSE type in its signature; FuseServer is the thin adapter between it and the kernel.
//
// Threads: any. Operations with a Done answer now if they can, else later on another thread; they
// never wait for the network. The others may block on the local disk. A parked operation
// ends with Code::cancelled when its `stop` is requested.
#pragma once

#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/access.h"
#include "hffs/budget.h"
#include "hffs/catalog.h"
#include "hffs/error.h"
#include "hffs/keeper.h"
#include "hffs/prefetch.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"
#include "hffs/transfer.h"

namespace hffs {

class Activity;
class Recorder;

struct FileSystemOptions {
  bool offline = false;          // a blob that is not wholly resident fails at open …
  bool offline_partial = false;  // … unless this is set
  bool strict = false;  // nothing of a blob is served before all of it was verified
  // From this size on a verified blob is handed over to the kernel, which costs more at open and
  // less at each read (measured: docs/BENCHMARKS.md).
  std::uint64_t backing_from = std::uint64_t{1} << 20;
  // What a user may write, but for root and the user who runs the daemon; nothing: no limit.
  std::optional<std::uint64_t> overlay_bytes_per_user = std::uint64_t{256} << 30;
  std::optional<std::uint64_t> overlay_files_per_user = 100'000;
  std::optional<std::uint64_t> overlay_bytes{}, overlay_files{};  // … and what all of them may
  uid_t own = 0;                 // who runs the daemon
  std::function<uid_t(uid_t)> owner_of{};  // whose a uid's files count as; empty: its own
  Recorder* recorder = nullptr;  // hears of what is looked up and opened
  // Hears of who looks up a repository, whether it is there or not. Must not block.
  std::function<void(const Caller&, const RepoId&)> entered{};
  Budget* budget = nullptr;      // what is fetched for a reader is taken from it; none: nothing is
};

// How the kernel is to treat an opened file. It follows from the node alone.
struct Opened {
  bool keep_cache = false;  // pages stay valid across opens
  bool direct = false;      // no pages: every read asks (refs, whose text changes)
  // A verified blob that is worth handing over: the kernel may read its file by itself.
  std::optional<BlobId> backing;
  std::uint64_t handle = 0;
};

struct SetAttr {
  std::optional<std::uint32_t> mode;
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  std::optional<std::uint64_t> size;
  std::optional<WallTime> modified;
};

class FileSystem {
 public:
  static Result<std::unique_ptr<FileSystem>> open(FileSystemOptions options, Catalog& catalog,
                                                  Store& store, TransferEngine& transfer,
                                                  Prefetcher& prefetcher, Handover& handover,
                                                  Disk& disk, const Clock& clock, Metrics& metrics);
  virtual ~FileSystem() = default;

  virtual void lookup(const Caller& caller, NodeId parent, std::string_view name,
                      std::stop_token stop, Done<Entry> done) = 0;
  virtual Result<Entry> get_attributes(const Caller& caller, NodeId node) = 0;
  virtual Result<Entry> set_attributes(const Caller& caller, NodeId node, const SetAttr& change) = 0;
  virtual Result<std::string> read_link(const Caller& caller, NodeId node) = 0;
  virtual void list(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most,
                    std::stop_token stop, Done<std::vector<DirItem>> done) = 0;

  // Before open_file() of what was there before: whether the caller may. sees(): that needs no question, and he may.
  virtual bool sees(const Caller& caller, NodeId node) = 0;
  virtual void admit(const Caller& caller, NodeId node, std::stop_token stop, Done<void> done) = 0;
  virtual Result<Opened> open_file(const Caller& caller, NodeId node, int flags) = 0;
  virtual void read(const Caller& caller, NodeId node, ByteRange range, std::stop_token stop,
                    Done<std::vector<std::byte>> done) = 0;
  virtual Result<std::size_t> write(const Caller& caller, NodeId node, std::uint64_t offset,
                                    std::span<const std::byte> bytes) = 0;
  // Until what was written to the node, and its name, are durable.
  virtual Result<void> sync(NodeId node) = 0;
  virtual void release(NodeId node, std::uint64_t handle, int flags) = 0;
  // The node was opened so often in an earlier process, and is open.
  virtual void reopen(NodeId node, std::uint32_t count) = 0;

  // Changes, each in the caller's own overlay.
  virtual Result<Entry> make_directory(const Caller& caller, NodeId parent, std::string_view name,
                                       std::uint32_t mode) = 0;
  virtual Result<Entry> make_file(const Caller& caller, NodeId parent, std::string_view name,
                                  std::uint32_t mode) = 0;
  virtual Result<Entry> make_link(const Caller& caller, NodeId parent, std::string_view name,
                                  std::string_view target) = 0;
  virtual Result<void> remove(const Caller& caller, NodeId parent, std::string_view name,
                              bool directory) = 0;
  virtual void rename(const Caller& caller, NodeId from, std::string_view name, NodeId to,
                      std::string_view new_name, unsigned flags, Done<void> done,
                      std::stop_token stop = {}) = 0;

  virtual struct statvfs space() = 0;
};

// Serves a FileSystem on the connected /dev/fuse descriptor (from Keeper::mount).
struct FuseOptions {
  unsigned threads = 8;  // they never wait for the network, so few are enough; at most Handover::kDesks
  // What newer kernels offer beyond Linux 5.15 (passthrough) stays unused, as it would on one.
  bool old_kernel = false;
  bool debug = false;
};
// How large verified blobs are read, and why.
struct ReadMode {
  bool passthrough = false;
  std::string reason;
};
class FuseServer {
 public:
  // Whether this worker would negotiate the session that the handover has, if it has one: unsupported.
  static Result<void> check_session(FuseOptions options, Keeper& keeper, Handover& handover);
  // Starts the threads; the mount answers once this has returned. `keeper` registers backing files. What
  // a worker before this one left in the handover is gone on with. unsupported: see check_session().
  static Result<std::unique_ptr<FuseServer>> start(FuseOptions options, FileSystem& files,
                                                   Keeper& keeper, UniqueFd device,
                                                   Handover& handover, Metrics& metrics,
                                                   Activity& activity);
  // Ends the session and joins the threads. The mount must be gone or detached by then.
  virtual ~FuseServer() = default;
  // Blocks until the file system is unmounted (or the session broke: the error).
  virtual Result<void> wait() = 0;
  virtual ReadMode read_mode() const = 0;
  // The kernel asks again for what it has believed of the node for good. Any thread; never waits.
  virtual void forget_attributes(NodeId node) = 0;
};

}  // namespace hffs
