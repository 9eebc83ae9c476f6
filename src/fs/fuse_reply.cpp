// SPDX-License-Identifier: Apache-2.0
#include "fuse_reply.h"

#include <cerrno>
#include <vector>

#include "fuse_convert.h"

namespace hffs::fs {
namespace {

// Answers that are part of a day's work; the others are logged here, once, with the file's name.
bool is_ordinary(Code code) {
  switch (code) {
    case Code::not_found:
    case Code::denied:
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

void interrupted(fuse_req_t request, void* number) {
  Session::of(request).parking.stop(reinterpret_cast<std::uintptr_t>(number));
}

}  // namespace

std::stop_token Parking::park(fuse_req_t request, std::uint64_t& number) {
  std::stop_source source;
  std::stop_token token = source.get_token();
  {
    auto held = held_.lock();
    number = held->next++;
    held->waiting.emplace(number, std::move(source));
  }
  ::fuse_req_interrupt_func(request, &interrupted,
                            reinterpret_cast<void*>(static_cast<std::uintptr_t>(number)));
  return token;
}

void Parking::leave(std::uint64_t number) {
  auto held = held_.lock();
  held->waiting.erase(number);
  // Under the lock: clear() may be the last thing before this object's end.
  if (held->waiting.empty()) left_.notify_all();
}

void Parking::stop(std::uint64_t number) {
  std::stop_source source(std::nostopstate);
  {
    auto held = held_.lock();
    const auto found = held->waiting.find(number);
    if (found == held->waiting.end()) return;
    source = found->second;
  }
  source.request_stop();
}

void Parking::clear() {
  std::vector<std::uint64_t> numbers;
  {
    auto held = held_.lock();
    for (const auto& [number, source] : held->waiting) numbers.push_back(number);
  }
  for (const std::uint64_t number : numbers) stop(number);
  auto held = held_.lock();
  while (!held->waiting.empty()) held.wait(left_);
}

Reply::~Reply() {
  if (request_ == nullptr) return;
  log(Level::error, "fs", "a request was not answered (a bug): {}", operation_);
  ::fuse_reply_err(take(), EIO);
  done();
}

std::stop_token Reply::park() {
  parking_ = &Session::of(request_).parking;
  return parking_->park(request_, number_);
}

// Behind the answer: the session may end once nobody is parked.
void Reply::done() {
  if (parking_ != nullptr) std::exchange(parking_, nullptr)->leave(number_);
}

void Reply::error(const Error& error) {
  if (!is_ordinary(error.code))
    log(error.code == Code::bug ? Level::error : Level::warn, "fs", "{} failed ({}): {}",
        operation_, info(error.code).name, error.message);
  code(info(error.code).errno_value);
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
