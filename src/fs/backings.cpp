// SPDX-License-Identifier: Apache-2.0
#include "backings.h"

#include "fuse_reply.h"

namespace hffs::fs {

std::optional<std::int32_t> Backings::open(NodeId node, const std::optional<BlobId>& blob) {
  if (node.kind() != NodeKind::blob && node.kind() != NodeKind::overlay) return {};
  auto open = open_.lock();
  Open& now = (*open)[node.value];
  if (now.count++ == 0 && blob) now.id = add(*blob);
  if (now.id) metrics_.add(Metric::passthrough_opens);
  if (now.row)
    handover_.set_open(*now.row, now.count, Session::request);
  else
    now.row = handover_.add_open({node.value, now.count, now.id.value_or(0)}, Session::request);
  return now.id;
}

void Backings::close(NodeId node) {
  auto open = open_.lock();
  const auto found = open->find(node.value);
  if (found == open->end()) return;
  const Open& now = found->second;
  --found->second.count;
  if (now.row) handover_.set_open(*now.row, now.count, Session::request);
  if (now.count > 0) return;
  end(now);
  open->erase(found);
}

// The keeper forgets the file first: a row without one is of no harm.
void Backings::end(const Open& open) {
  if (open.id) keeper_.close_backing(*open.id);
  if (open.row) handover_.free_open(*open.row);
}

// One of which nobody is left was closed when its worker ended, or is about to be opened again.
void Backings::reopen(std::uint32_t row, const Handover::OpenNode& was) {
  const Open now{.id = was.backing != 0 ? std::optional(was.backing) : std::nullopt, .count = was.count, .row = row};
  if (now.count == 0) return end(now);
  (*open_.lock())[was.node] = now;
}

std::optional<std::int32_t> Backings::add(const BlobId& blob) {
  if (!mode_.lock()->passthrough) return std::nullopt;
  auto id = keeper_.open_backing(blob);
  if (id) return *id;
  const Error& error = id.error();
  if (error.code == Code::denied || error.code == Code::unsupported) {
    log(Level::info, "fs", "no passthrough: {}", error.message);
    decide({.passthrough = false, .reason = error.message});
  } else {
    log(Level::warn, "fs", "a blob is read without passthrough: {}", error.message);
  }
  return std::nullopt;
}

}  // namespace hffs::fs
