// SPDX-License-Identifier: Apache-2.0
#include "overlay_tree.h"

namespace hffs::fs {

OverlayNode* OverlayTree::find(std::uint64_t number) {
  const auto found = nodes_.find(number);
  return found == nodes_.end() ? nullptr : &found->second;
}

OverlayNode* OverlayTree::child(uid_t user, NodeId directory, std::string_view name) {
  const auto children = directories_.find({user, directory.value});
  if (children == directories_.end()) return nullptr;
  const auto found = children->second.names.find(name);
  return found == children->second.names.end() ? nullptr : find(found->second);
}

bool OverlayTree::has_children(uid_t user, NodeId directory) const {
  return directories_.contains({user, directory.value});
}

std::vector<std::uint64_t> OverlayTree::children(uid_t user, NodeId directory, std::uint64_t after,
                                                 std::size_t most) const {
  std::vector<std::uint64_t> found;
  const auto children = directories_.find({user, directory.value});
  if (children == directories_.end()) return found;
  const auto& numbers = children->second.numbers;
  for (auto at = numbers.upper_bound(after); at != numbers.end() && found.size() < most; ++at)
    found.push_back(*at);
  return found;
}

bool OverlayTree::lies_below(NodeId directory, std::uint64_t number) {
  while (directory.kind() == NodeKind::overlay) {
    if (directory.payload() == number) return true;
    const OverlayNode* node = find(directory.payload());
    if (node == nullptr) return false;
    directory = node->row.parent;
  }
  return false;
}

OverlayNode& OverlayTree::insert(OverlayNode node) {
  if (node.named()) add_name(node.row);
  const std::uint64_t number = node.row.number;
  return nodes_.insert_or_assign(number, std::move(node)).first->second;
}

void OverlayTree::move(OverlayNode& node, NodeId directory, std::string name) {
  remove_name(node.row);
  node.row.parent = directory;
  node.row.name = std::move(name);
  add_name(node.row);
}

void OverlayTree::take_name(OverlayNode& node) {
  remove_name(node.row);
  node.row.standing = Standing::removed;
}

void OverlayTree::erase(std::uint64_t number) {
  nodes_.erase(number);
}

void OverlayTree::add_name(const OverlayRow& row) {
  Children& children = directories_[{row.user, row.parent.value}];
  children.names[row.name] = row.number;
  children.numbers.insert(row.number);
}

void OverlayTree::remove_name(const OverlayRow& row) {
  const auto children = directories_.find({row.user, row.parent.value});
  if (children == directories_.end()) return;
  children->second.names.erase(row.name);
  children->second.numbers.erase(row.number);
  if (children->second.numbers.empty()) directories_.erase(children);
}

}  // namespace hffs::fs
