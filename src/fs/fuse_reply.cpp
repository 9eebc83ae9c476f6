// SPDX-License-Identifier: Apache-2.0
#include "fuse_reply.h"

#include <cerrno>

#include "fuse_convert.h"

namespace hffs::fs {
namespace {

// Answers that are part of a day's work. Of the others an errno does not say why: that is told here, and kept for who
// asks later (activity.h).
bool is_ordinary(Code code) {
  switch (code) {
    case Code::not_found:
    case Code::exists:
    case Code::refused:
    case Code::invalid:
    case Code::unsupported:
    case Code::stale:
    case Code::cancelled:
    case Code::not_directory:
    case Code::is_directory:
    case Code::not_empty:
    case Code::busy:
      return true;
    default:
      return false;
  }
}

// Why somebody is refused has a line of its own where that is decided.
bool is_told_already(Code code) {
  return code == Code::denied || code == Code::over_quota;
}

// libfuse calls this with the request's own lock held. Answering from here is fine: fuse_reply_* does
// not take that lock. Within fuse_req_interrupt_func itself it would not be, which is why a request is
// parked before its operation begins.
void interrupted(fuse_req_t request, void* number) {
  Session::of(request).parking.interrupt(reinterpret_cast<std::uintptr_t>(number));
}

}  // namespace

Reply::~Reply() {
  if (request_ == nullptr) return;
  log(Level::error, "fs", "a request was not answered (a bug): {}", operation_);
  ::fuse_reply_err(take(), EIO);
  done();
}

std::stop_token Reply::park(Signals signals) {
  parking_ = &Session::of(request_).parking;
  const auto place = parking_->park(to_caller(request_).pid, signals);
  number_ = place.number;
  ::fuse_req_interrupt_func(request_, &interrupted,
                            reinterpret_cast<void*>(static_cast<std::uintptr_t>(number_)));
  return place.stop;
}

// Behind the answer: the session may end once nobody is parked.
void Reply::done() {
  if (parking_ != nullptr) std::exchange(parking_, nullptr)->leave(number_);
}

void Reply::error(const Error& error) {
  const Caller caller = to_caller(request_);
  Activity& activity = Session::of(request_).activity;
  if (!is_ordinary(error.code) && activity.failed(caller, node_, operation_, error) && !is_told_already(error.code))
    tell(error, caller, activity.take_line(caller.uid));
  code(info(error.code).errno_value);
}

void Reply::tell(const Error& error, const Caller& caller, const Activity::Line& line) const {
  if (line.left_out != 0)
    log(Level::warn, "fs", "{} more failures of uid={} within a minute were left out", line.left_out, caller.uid);
  if (!line.granted) return;
  const std::string_view remedy = info(error.code).remedy;
  log(error.code == Code::bug ? Level::error : Level::warn, "fs", "{} failed ({}) for uid={} pid={}: {}{}{}{}", operation_,
      info(error.code).name, caller.uid, caller.pid, error.message, remedy.empty() ? "" : "; ", remedy,
      line.last ? "; what else fails for this uid within the minute is only counted" : "");
}

void Reply::code(int errno_value) {
  ::fuse_reply_err(take(), errno_value);
  done();
}

void Reply::entry(const Entry& entry) {
  const fuse_entry_param answer = to_entry(entry);
  ::fuse_reply_entry(take(), &answer);
  done();
}

void Reply::attributes(const Entry& entry) {
  const struct stat answer = to_stat(entry.attr);
  ::fuse_reply_attr(take(), &answer, to_seconds(entry.attr_ttl));
  done();
}

void Reply::text(const std::string& text) {
  ::fuse_reply_readlink(take(), text.c_str());
  done();
}

void Reply::bytes(std::span<const std::byte> bytes) {
  ::fuse_reply_buf(take(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
  done();
}

void Reply::count(std::size_t count) {
  ::fuse_reply_write(take(), count);
  done();
}

void Reply::space(const struct statvfs& space) {
  ::fuse_reply_statfs(take(), &space);
  done();
}

bool Reply::opened(const fuse_file_info& file) {
  const int sent = ::fuse_reply_open(take(), &file);
  done();
  return sent == 0;
}

bool Reply::created(const Entry& entry, const fuse_file_info& file) {
  const fuse_entry_param answer = to_entry(entry);
  const int sent = ::fuse_reply_create(take(), &answer, &file);
  done();
  return sent == 0;
}

}  // namespace hffs::fs
