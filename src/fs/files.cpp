// SPDX-License-Identifier: Apache-2.0
//
// Opened files. Blobs are read and never written; what is written to a ref is accepted and asked for;
// overlay files are files.
#include <fcntl.h>

#include "filesystem_impl.h"
#include "hffs/recorder.h"
#include "parked.h"

namespace hffs::fs {
namespace {

bool for_writing(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

std::vector<std::byte> slice(std::string_view text, ByteRange range) {
  range = clip(range, text.size());
  const auto bytes = std::as_bytes(std::span(text)).subspan(range.offset, range.size);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::uint64_t FileSystemImpl::recording_of(const Caller& caller) const {
  if (options_.recorder == nullptr || !options_.recorder->active()) return 0;
  return options_.recorder->find(caller.pid);
}

bool FileSystemImpl::sees(const Caller& caller, NodeId node) {
  return node.kind() == NodeKind::overlay || catalog_.sees(caller, node);
}

void FileSystemImpl::admit(const Caller& caller, NodeId node, std::stop_token stop,
                           Done<void> done) {
  catalog_.admit(caller, node, Parked<void>::wrap(std::move(stop), std::move(done)));
}

Result<Opened> FileSystemImpl::open_file(const Caller& caller, NodeId node, int flags) {
  switch (node.kind()) {
    case NodeKind::overlay:
      if (auto opened = overlay_->open_file(caller.uid, node, (flags & O_TRUNC) != 0); !opened)
        return fail(opened);
      return Opened{.keep_cache = true};
    case NodeKind::blob:
      if (for_writing(flags)) return fail(Code::refused, "a blob cannot be written");
      if (const auto recording = recording_of(caller)) options_.recorder->opened(recording, node);
      return blobs_.open(caller, node);
    case NodeKind::ref:
    case NodeKind::frozen_ref:
      return Opened{.direct = true};
    case NodeKind::absent_file:
      if (for_writing(flags)) return fail(own_mark(caller, node));
      return Opened{.keep_cache = true};
    default:
      if (for_writing(flags)) return fail(Code::refused, "this file cannot be written");
      return Opened{.keep_cache = true};
  }
}

void FileSystemImpl::read(const Caller& caller, NodeId node, ByteRange range, std::stop_token stop,
                          Done<std::vector<std::byte>> done) {
  if (node.kind() == NodeKind::blob)
    return blobs_.read(caller, node, range, std::move(stop), std::move(done));
  if (node.kind() == NodeKind::overlay) return done(overlay_->read(node, range));
  const Asking asking(std::make_shared<Asker>(caller));  // a stale ref is asked for
  auto text = catalog_.read_text(node);
  if (!text) return done(fail(text));
  if (node.kind() == NodeKind::ref)
    if (const auto recording = recording_of(caller))
      options_.recorder->read_ref(recording, node, *text);
  done(slice(*text, range));
}

Result<std::size_t> FileSystemImpl::write(const Caller&, NodeId node, std::uint64_t offset,
                                          std::span<const std::byte> bytes) {
  if (node.kind() == NodeKind::overlay) return overlay_->write(node, offset, bytes);
  if (node.kind() == NodeKind::ref || node.kind() == NodeKind::frozen_ref) return bytes.size();
  return fail(Code::refused, "what the Hub publishes cannot be written");
}

Result<void> FileSystemImpl::sync(NodeId node) {
  if (node.kind() == NodeKind::overlay) return overlay_->sync(node);
  return may_hold_overlay(node) ? overlay_->flush() : Result<void>{};
}

void FileSystemImpl::reopen(NodeId node, std::uint32_t count) {
  if (node.kind() == NodeKind::blob) blobs_.reopen(node, count);
  if (node.kind() == NodeKind::overlay) overlay_->reopen(node, count);
}

void FileSystemImpl::release(NodeId node, std::uint64_t, int flags) {
  switch (node.kind()) {
    case NodeKind::overlay:
      if (const auto absorbed = overlay_->close_file(node))
        refresh_ref(absorbed->directory, absorbed->name);
      return;
    case NodeKind::blob:
      return blobs_.close(node);
    case NodeKind::ref:
      if (for_writing(flags)) refresh_ref(node, {});
      return;
    default:
      return;
  }
}

}  // namespace hffs::fs
