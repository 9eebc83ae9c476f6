// SPDX-License-Identifier: Apache-2.0
#include "fuse_ops.h"

#include <fcntl.h>

#include <cerrno>

#include "fuse_convert.h"
#include "fuse_reply.h"
#include "hffs/activity.h"
#include "hffs/clock.h"

namespace hffs::fs {
namespace {

constexpr unsigned kMostReadAhead = 1u << 20;
// The kernel's default, for all users together, is 12.
constexpr unsigned kMostBackground = 1'024;

// The net under each callback: an exception (out of memory) answers EIO through ~Reply.
template <auto Operation>
struct Net;
template <class... Args, void (*Operation)(Args...)>
struct Net<Operation> {
  static void call(Args... args) noexcept {
    try {
      Operation(args...);
    } catch (const std::exception& thrown) {
      log(Level::error, "fs", "an operation ended in an exception: {}", thrown.what());
    } catch (...) {
      log(Level::error, "fs", "an operation ended in an exception");
    }
  }
};

NodeId node_of(fuse_ino_t inode) {
  return {inode};
}

template <class T>
Done<T> answer(Reply reply, void (Reply::*give)(const T&)) {
  return [reply = std::move(reply), give](Result<T> result) mutable {
    if (!result) return reply.error(result.error());
    (reply.*give)(*result);
  };
}

void give_entry(Reply reply, const Result<Entry>& entry) {
  entry ? reply.entry(*entry) : reply.error(entry.error());
}
void give_nothing(Reply reply, const Result<void>& result) {
  result ? reply.ok() : reply.error(result.error());
}

// Backing files may not be on a file system that is itself stacked; then this mount may be.
ReadMode negotiate_passthrough(const Session& session, fuse_conn_info* connection) {
  if (session.old_kernel) return {.reason = "switched off (fuse_features = \"5.15\")"};
  if (auto may = session.keeper.may_back(); !may) return {.reason = may.error().message};
  if (!::fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH))
    return {.reason = "the kernel has no FUSE passthrough (Linux 6.9 has)"};
  connection->max_backing_stack_depth = 0;
  return {.passthrough = true, .reason = "the kernel reads large verified files by itself"};
}

void init(void* userdata, fuse_conn_info* connection) {
  Session& session = *static_cast<Session*>(userdata);
  session.backings.decide(negotiate_passthrough(session, connection));
  ::fuse_unset_feature_flag(connection, FUSE_CAP_AUTO_INVAL_DATA);
  ::fuse_unset_feature_flag(connection, FUSE_CAP_SPLICE_READ);
  // Its readers wait where no signal reaches them.
  ::fuse_unset_feature_flag(connection, FUSE_CAP_ASYNC_DIO);
  ::fuse_set_feature_flag(connection, FUSE_CAP_PARALLEL_DIROPS);
  ::fuse_set_feature_flag(connection, FUSE_CAP_CACHE_SYMLINKS);  // a node's target never changes
  connection->max_readahead = std::min(connection->max_readahead, kMostReadAhead);
  connection->max_background = kMostBackground;
  connection->congestion_threshold = kMostBackground;
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Session& session = Session::of(request);
  session.metrics.add(Metric::fuse_lookups);
  Reply reply(request, "lookup", parent);
  const Caller caller = to_caller(request);
  const std::stop_token stop = reply.park(Signals::deadly);
  session.files->lookup(caller, node_of(parent), name, stop,
                       answer<Entry>(std::move(reply), &Reply::entry));
}

void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  Reply reply(request, "getattr", inode);
  const auto entry = Session::of(request).files->get_attributes(to_caller(request), node_of(inode));
  entry ? reply.attributes(*entry) : reply.error(entry.error());
}

void setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int which,
             fuse_file_info*) {
  Reply reply(request, "setattr", inode);
  const auto entry = Session::of(request).files->set_attributes(
      to_caller(request), node_of(inode), to_change(*wanted, which, system_clock().wall()));
  entry ? reply.attributes(*entry) : reply.error(entry.error());
}

void readlink(fuse_req_t request, fuse_ino_t inode) {
  Reply reply(request, "readlink", inode);
  const auto target = Session::of(request).files->read_link(to_caller(request), node_of(inode));
  target ? reply.text(*target) : reply.error(target.error());
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  Reply reply(request, "mkdir", parent);
  give_entry(std::move(reply), Session::of(request).files->make_directory(
                                   to_caller(request), node_of(parent), name, mode));
}

// Files come by CREATE, which opens them too: a write to a ref lives as long as it is open.
void mknod(fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) {
  Reply(request, "mknod", 0).code(EPERM);
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  Reply reply(request, "symlink", parent);
  give_entry(std::move(reply), Session::of(request).files->make_link(
                                   to_caller(request), node_of(parent), name, target));
}

void link(fuse_req_t request, fuse_ino_t, fuse_ino_t, const char*) {
  Reply(request, "link", 0).code(EPERM);
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply reply(request, "unlink", parent);
  give_nothing(std::move(reply), Session::of(request).files->remove(to_caller(request),
                                                                   node_of(parent), name, false));
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply reply(request, "rmdir", parent);
  give_nothing(std::move(reply), Session::of(request).files->remove(to_caller(request),
                                                                   node_of(parent), name, true));
}

// An import under way cannot be stopped; the way to it can.
void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Session& session = Session::of(request);
  Reply reply(request, "rename", parent);
  const Caller caller = to_caller(request);
  const std::stop_token stop = reply.park(Signals::deadly);
  session.files->rename(caller, node_of(parent), name, node_of(new_parent), new_name, flags,
                       [reply = std::move(reply)](Result<void> result) mutable {
                         give_nothing(std::move(reply), result);
                       },
                       stop);
}

fuse_file_info to_file_info(const fuse_file_info& asked, const Opened& opened) {
  fuse_file_info file = asked;
  file.fh = opened.handle;
  file.keep_cache = opened.keep_cache;
  file.direct_io = opened.direct;
  file.noflush = 1;  // nothing is kept back until close()
  return file;
}

void close(Session& session, NodeId node, const fuse_file_info& file) {
  session.backings.close(node);
  session.files->release(node, file.fh, file.flags);
}

void open_seen(Session& session, const Caller& caller, NodeId node, const fuse_file_info& file,
               Reply& reply) {
  const auto opened = session.files->open_file(caller, node, file.flags);
  if (!opened) return reply.error(opened.error());
  fuse_file_info answer = to_file_info(file, *opened);
  const auto id = session.backings.open(node, opened->backing);
  if (id) {
    answer.backing_id = *id;
    answer.keep_cache = false;
  }
  if (node.kind() == NodeKind::blob) session.activity.opened(caller, node, id.has_value());
  if (!reply.opened(answer)) close(session, node, answer);
}

void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  Session& session = Session::of(request);
  Reply reply(request, "open", inode);
  const Caller caller = to_caller(request);
  const NodeId node = node_of(inode);
  if (session.files->sees(caller, node)) return open_seen(session, caller, node, *file, reply);
  const std::stop_token stop = reply.park(Signals::deadly);
  session.files->admit(caller, node, stop,
                       [&session, caller, node, file = *file,
                        reply = std::move(reply)](Result<void> admitted) mutable {
                         if (!admitted) return reply.error(admitted.error());
                         open_seen(session, caller, node, file, reply);
                       });
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) {
  Session& session = Session::of(request);
  Reply reply(request, "create", parent);
  const Caller caller = to_caller(request);
  const auto entry = session.files->make_file(caller, node_of(parent), name, mode);
  if (!entry) return reply.error(entry.error());
  const auto opened = session.files->open_file(caller, entry->node, file->flags);
  if (!opened) return reply.error(opened.error());
  session.backings.open(entry->node, opened->backing);
  if (!reply.created(*entry, to_file_info(*file, *opened))) close(session, entry->node, *file);
}

void release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* file) {
  Reply reply(request, "release", inode);
  close(Session::of(request), node_of(inode), *file);
  reply.ok();
}

void read(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset,
          fuse_file_info* file) {
  Session& session = Session::of(request);
  session.metrics.add(Metric::fuse_reads);
  Reply reply(request, "read", inode);
  const Caller caller = to_caller(request);
  const bool direct = (file->flags & O_DIRECT) != 0;
  const std::stop_token stop = reply.park(direct ? Signals::any : Signals::deadly);
  const NodeId node = node_of(inode);
  const bool of_blob = node.kind() == NodeKind::blob;
  if (of_blob) session.activity.began(caller, node);
  session.files->read(caller, node, {static_cast<std::uint64_t>(offset), size}, stop,
                     [reply = std::move(reply), caller, node, of_blob, &session](
                         Result<std::vector<std::byte>> bytes) mutable {
                       if (of_blob) session.activity.ended(caller, node, bytes ? bytes->size() : 0);
                       if (!bytes) return reply.error(bytes.error());
                       session.metrics.add(Metric::fuse_read_bytes,
                                           static_cast<std::int64_t>(bytes->size()));
                       reply.bytes(*bytes);
                     });
}

void write(fuse_req_t request, fuse_ino_t inode, const char* data, std::size_t size, off_t offset,
           fuse_file_info*) {
  Reply reply(request, "write", inode);
  const auto written = Session::of(request).files->write(
      to_caller(request), node_of(inode), static_cast<std::uint64_t>(offset),
      std::as_bytes(std::span(data, size)));
  written ? reply.count(*written) : reply.error(written.error());
}

void fsync(fuse_req_t request, fuse_ino_t inode, int, fuse_file_info*) {
  Reply reply(request, "fsync", inode);
  give_nothing(std::move(reply), Session::of(request).files->sync(node_of(inode)));
}

void readdir(fuse_req_t request, fuse_ino_t inode, std::size_t size, off_t offset,
             fuse_file_info*) {
  Session& session = Session::of(request);
  Reply reply(request, "readdir", inode);
  const Caller caller = to_caller(request);
  DirectoryPage page(request, node_of(inode), static_cast<std::uint64_t>(offset), size);
  const std::uint64_t cookie = page.cookie();
  const std::size_t most = page.most();
  const std::stop_token stop = reply.park(Signals::deadly);
  session.files->list(caller, node_of(inode), cookie, most, stop,
                     [reply = std::move(reply), page = std::move(page)](
                         Result<std::vector<DirItem>> items) mutable {
                       if (!items) return reply.error(items.error());
                       page.fill(*items);
                       reply.bytes(std::as_bytes(std::span(page.bytes())));
                     });
}

void statfs(fuse_req_t request, fuse_ino_t) {
  Reply reply(request, "statfs", 0);
  reply.space(Session::of(request).files->space());
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops{};
    ops.init = &Net<init>::call;
    ops.lookup = &Net<lookup>::call;
    ops.getattr = &Net<getattr>::call;
    ops.setattr = &Net<setattr>::call;
    ops.readlink = &Net<readlink>::call;
    ops.mknod = &Net<mknod>::call;
    ops.mkdir = &Net<mkdir>::call;
    ops.unlink = &Net<unlink>::call;
    ops.rmdir = &Net<rmdir>::call;
    ops.symlink = &Net<symlink>::call;
    ops.rename = &Net<rename>::call;
    ops.link = &Net<link>::call;
    ops.open = &Net<open>::call;
    ops.create = &Net<create>::call;
    ops.read = &Net<read>::call;
    ops.write = &Net<write>::call;
    ops.release = &Net<release>::call;
    ops.fsync = &Net<fsync>::call;
    ops.readdir = &Net<readdir>::call;
    ops.fsyncdir = &Net<fsync>::call;
    ops.statfs = &Net<statfs>::call;
    return ops;
  }();
  return operations;
}

}  // namespace hffs::fs
