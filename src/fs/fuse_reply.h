// SPDX-License-Identifier: Apache-2.0
//
// Reply: the right and the duty to answer one request, once (invariant 5). One that is forgotten answers
// EIO and logs a bug.
//
// Threads: any.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

#include "backings.h"
#include "fuse_api.h"
#include "hffs/activity.h"
#include "hffs/filesystem.h"
#include "parking.h"

namespace hffs::fs {

// What the operations find behind every request (libfuse's userdata).
struct Session {
  FileSystem* files = nullptr;  // none: nothing but INIT comes
  Metrics& metrics;
  Keeper& keeper;
  Backings backings;
  bool old_kernel = false;
  Parking parking;
  Activity& activity;
  // Answers and notifications go to the kernel by this.
  std::function<ssize_t(std::span<const iovec>)> send = {};

  // The request that this thread has in work.
  static thread_local std::uint64_t request;

  static Session& of(fuse_req_t request) {
    return *static_cast<Session*>(::fuse_req_userdata(request));
  }
};

class Reply {
 public:
  // `node`: what the operation is about; a name in it, of a lookup.
  Reply(fuse_req_t request, const char* operation, fuse_ino_t node)
      : request_(request), operation_(operation), node_{node} {}
  Reply(Reply&& other) noexcept
      : request_(std::exchange(other.request_, nullptr)),
        operation_(other.operation_),
        node_(other.node_),
        parking_(std::exchange(other.parking_, nullptr)),
        number_(other.number_) {}
  Reply& operator=(Reply&&) = delete;
  ~Reply();

  // From now on a signal of the caller asks the token to stop. Before the operation begins.
  std::stop_token park(Signals signals);

  void error(const Error& error);
  void code(int errno_value);
  void ok() { code(0); }
  void entry(const Entry& entry);
  void attributes(const Entry& entry);
  void text(const std::string& text);
  void bytes(std::span<const std::byte> bytes);
  void count(std::size_t count);
  void space(const struct statvfs& space);
  // False: the request was interrupted, and the kernel will not close the file.
  bool opened(const fuse_file_info& file);
  bool created(const Entry& entry, const fuse_file_info& file);

 private:
  void tell(const Error& error, const Caller& caller, const Activity::Line& line) const;
  fuse_req_t take() { return std::exchange(request_, nullptr); }
  void done();

  fuse_req_t request_;
  const char* operation_;
  NodeId node_;
  Parking* parking_ = nullptr;
  std::uint64_t number_ = 0;
};

}  // namespace hffs::fs
