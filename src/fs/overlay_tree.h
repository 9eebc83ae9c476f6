// SPDX-License-Identifier: Apache-2.0
//
// OverlayTree: the overlay's nodes and names in memory. No lock, no disk: Overlay has both.
// Threads: one at a time.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "overlay_data.h"
#include "overlay_rows.h"

namespace hffs::fs {

struct OverlayNode {
  OverlayRow row;
  std::uint64_t size = 0;
  std::shared_ptr<DataFile> data;  // regular files; none: what is written is absorbed
  std::uint32_t opens = 0;
  bool moving = false;  // its content is on the way to the store
  bool lost = false;    // its data file was not there when the process began
  bool named() const { return row.standing == Standing::named; }
};

class OverlayTree {
 public:
  OverlayNode* find(std::uint64_t number);
  OverlayNode* child(uid_t user, NodeId directory, std::string_view name);
  bool has_children(uid_t user, NodeId directory) const;
  // Numbers of the children behind `after`, in order.
  std::vector<std::uint64_t> children(uid_t user, NodeId directory, std::uint64_t after,
                                      std::size_t most) const;
  // Whether `directory` is the node or lies below it.
  bool lies_below(NodeId directory, std::uint64_t number);

  OverlayNode& insert(OverlayNode node);
  void move(OverlayNode& node, NodeId directory, std::string name);
  void take_name(OverlayNode& node);  // it stays in the tree, removed
  void erase(std::uint64_t number);   // it has no name any more
  std::size_t size() const { return nodes_.size(); }

 private:
  using Directory = std::pair<uid_t, std::uint64_t>;
  struct Children {
    std::map<std::string, std::uint64_t, std::less<>> names;
    std::set<std::uint64_t> numbers;
  };
  void add_name(const OverlayRow& row);
  void remove_name(const OverlayRow& row);

  std::unordered_map<std::uint64_t, OverlayNode> nodes_;
  std::map<Directory, Children> directories_;
};

}  // namespace hffs::fs
