// SPDX-License-Identifier: Apache-2.0
#include "backings.h"

namespace hffs::fs {

std::optional<std::int32_t> Backings::open(NodeId node, const BlobId& blob) {
  auto open = open_.lock();
  Open& now = (*open)[node.value];
  if (now.count++ == 0) now.id = add(blob);
  if (now.id) metrics_.add(Metric::passthrough_opens);
  return now.id;
}

void Backings::close(NodeId node) {
  auto open = open_.lock();
  const auto found = open->find(node.value);
  if (found == open->end() || --found->second.count > 0) return;
  if (found->second.id) keeper_.close_backing(*found->second.id);
  open->erase(found);
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
