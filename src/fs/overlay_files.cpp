// SPDX-License-Identifier: Apache-2.0
//
// The overlay's bytes.
#include "overlay.h"

namespace hffs::fs {
namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 62;

std::unexpected<Error> gone() {
  return fail(Code::stale, "the file is gone");
}

}  // namespace

// Counts before the bytes are written, so that two writers cannot both take the last of the quota.
Result<void> Overlay::resize(State& state, OverlayNode& node, std::uint64_t size) {
  if (size > kLargestFile) return fail(Code::invalid, "too large");
  if (size > node.size)
    if (auto room = check_limit(state, node.row.user, size - node.size, 0); !room) return room;
  count(state, node.row.user, static_cast<std::int64_t>(size - node.size));
  node.size = size;
  return {};
}

// After a write that failed part of the way: the disk knows.
void Overlay::settle_size(NodeId node) {
  auto state = state_.lock();
  OverlayNode* found = state->tree.find(node.payload());
  if (found == nullptr || !found->data) return;
  const auto now = found->data->state();
  if (!now) return;
  count(*state, found->row.user, static_cast<std::int64_t>(now->size - found->size));
  found->size = now->size;
}

Result<void> Overlay::open_file(uid_t user, NodeId node, bool truncate) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return gone();
    if (found->row.user != user) return fail(Code::denied, "the file is another user's");
    if (found->row.kind == FileKind::directory) return fail(Code::is_directory, "a directory");
    if (truncate && found->data)
      if (auto empty = resize(*state, *found, 0); !empty) return empty;
    ++found->opens;
    data = found->data;
  }
  if (!data) return {};
  auto opened = data->open();
  if (opened && truncate) {
    opened = data->truncate(0);
    if (!opened) data->close();
  }
  if (!opened) {
    settle_size(node);
    auto state = state_.lock();
    if (OverlayNode* found = state->tree.find(node.payload())) --found->opens;
  }
  return opened;
}

void Overlay::reopen(NodeId node, std::uint32_t count) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return;  // its content has become a blob
    found->opens += count;
    data = found->data;
  }
  for (; data && count > 0; --count)
    if (auto opened = data->open(); !opened)
      return log(Level::warn, "fs", "a file of the overlay: {}", opened.error().message);
}

std::optional<Overlay::Absorbed> Overlay::close_file(NodeId node) {
  std::optional<Absorbed> absorbed;
  std::shared_ptr<DataFile> data;
  Leftover left;
  {
    auto state = state_.lock();
    OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return {};
    data = found->data;
    if (found->opens > 0) --found->opens;
    if (found->opens == 0 && !found->named()) {
      if (!data) absorbed = {found->row.parent, found->row.name};
      left.data = data;
      rows_.write({RowWriter::erase(found->row.number)}, 0);
      drop_node(*state, *found);
    }
  }
  if (data) data->close();
  discard(left);
  return absorbed;
}

Result<std::vector<std::byte>> Overlay::read(NodeId node, ByteRange range) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    const OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return gone();
    data = found->data;
    range = clip(range, found->size);
  }
  if (!data || range.empty()) return std::vector<std::byte>{};
  return data->read(range);
}

Result<std::size_t> Overlay::write(NodeId node, std::uint64_t offset,
                                   std::span<const std::byte> bytes) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return gone();
    if (!found->data) return bytes.size();
    if (found->moving) return fail(Code::refused, "the file is on its way to be a blob");
    const std::uint64_t end = offset + bytes.size();
    if (end > found->size)
      if (auto larger = resize(*state, *found, end); !larger) return fail(larger);
    found->row.modified = clock_.wall();
    data = found->data;
  }
  if (auto written = data->write(offset, bytes); !written) {
    settle_size(node);
    return fail(written);
  }
  return bytes.size();
}

Result<void> Overlay::sync(NodeId node) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    const OverlayNode* found = state->tree.find(node.payload());
    if (found != nullptr) data = found->data;
  }
  if (data)
    if (auto synced = data->sync(); !synced) return synced;
  return rows_.wait();
}

Result<Entry> Overlay::change(uid_t user, NodeId node, const SetAttr& change) {
  std::shared_ptr<DataFile> data;
  {
    auto state = state_.lock();
    OverlayNode* found = state->tree.find(node.payload());
    if (found == nullptr) return gone();
    OverlayRow& row = found->row;
    const bool same_group = !change.group || *change.group == row.group;
    if (row.user != user && (change.mode || change.modified || !same_group))
      return fail(Code::refused, "the file is another user's");
    if (change.owner && *change.owner != row.user)
      return fail(Code::refused, "a file of the overlay keeps its owner");
    data = found->data;
    if (change.size) {
      if (row.kind == FileKind::directory) return fail(Code::is_directory, "a directory");
      if (found->moving) return fail(Code::refused, "the file is on its way to be a blob");
      if (data) {
        if (auto resized = resize(*state, *found, *change.size); !resized) return fail(resized);
        row.modified = clock_.wall();
      }
    }
    if (change.mode) row.mode = *change.mode & 07777;
    if (change.group) row.group = *change.group;
    if (change.modified) row.modified = *change.modified;
    // A size, and a file's time, are the data file's.
    const bool for_row = change.mode || change.group || (change.modified && !data);
    if (for_row) rows_.write({RowWriter::put(row)}, 0);
  }
  Result<void> done;
  if (change.size && data) done = data->truncate(*change.size);
  if (done && change.modified && data) done = data->set_modified(*change.modified);
  if (!done) {
    settle_size(node);
    return fail(done);
  }
  rows_.ease();
  return attributes(node);
}

}  // namespace hffs::fs
