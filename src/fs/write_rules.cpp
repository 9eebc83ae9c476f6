// SPDX-License-Identifier: Apache-2.0
#include "write_rules.h"

namespace hffs::fs {
namespace {

bool is_temporary(std::string_view name) {
  return name.starts_with("tmp");
}
bool is_repository_name(std::string_view name) {
  return !is_side_name(name) && RepoId::parse_layout(name).has_value();
}
Rule own_if(bool condition) {
  return condition ? Rule::own : Rule::refused;
}

Rule may_make_in_root(std::string_view name, Making what) {
  if (is_temporary(name)) return Rule::own;
  if (what == Making::file) return own_if(name.ends_with(".lock"));
  return own_if(what == Making::directory && is_repository_name(name));
}

}  // namespace

Territory territory_of(NodeId published_directory) {
  const NodeKind kind = published_directory.kind();
  return kind == NodeKind::refs_root || kind == NodeKind::ref ? Territory::refs
                                                              : Territory::ordinary;
}

Rule may_make(Territory territory, std::string_view name, Making what) {
  if (territory == Territory::ordinary) return Rule::own;
  if (what == Making::link) return Rule::refused;
  return what == Making::directory || is_side_name(name) ? Rule::own : Rule::absorbed;
}

Rule may_make(NodeId published_directory, std::string_view name, Making what) {
  switch (published_directory.kind()) {
    case NodeKind::fixed:
      if (published_directory == kRootNode) return may_make_in_root(name, what);
      return own_if(published_directory == NodeId::of(FixedNode::locks));
    case NodeKind::repo:
      return own_if(is_temporary(name));
    case NodeKind::blobs_root:
      return own_if(is_temporary(name) ||
                    (what == Making::file &&
                     (name.ends_with(".lock") || name.ends_with(".incomplete"))));
    case NodeKind::refs_root:
    case NodeKind::ref:
      return may_make(Territory::refs, name, what);
    case NodeKind::trees:
    case NodeKind::no_exist:
    case NodeKind::no_exist_dir:
    case NodeKind::absent_dir:
      return Rule::own;
    default:
      return Rule::refused;
  }
}

Rule may_move_to(NodeId published_directory, std::string_view name, Making what) {
  // A repository of one's own is made, never moved to.
  if (published_directory == kRootNode && what == Making::directory)
    return own_if(is_temporary(name));
  if (published_directory.kind() == NodeKind::blobs_root && what == Making::file &&
      BlobId::parse(name))
    return Rule::blob;
  return may_make(published_directory, name, what);
}

Sight sight_of(NodeId published_directory, std::string_view name) {
  switch (published_directory.kind()) {
    case NodeKind::fixed:
      if (published_directory != kRootNode) return Sight::overlay;
      if (is_side_name(name)) return Sight::overlay;
      return is_repository_name(name) ? Sight::published_first : Sight::published;
    case NodeKind::repo:
    case NodeKind::blobs_root:
      return is_side_name(name) ? Sight::overlay : Sight::published;
    case NodeKind::refs_root:
    case NodeKind::ref:
      return is_side_name(name) ? Sight::overlay : Sight::published_first;
    case NodeKind::trees:
      return Sight::overlay;
    case NodeKind::no_exist:
    case NodeKind::no_exist_dir:
    case NodeKind::absent_dir:
      return Sight::overlay_first;
    default:
      return Sight::published;
  }
}

bool may_hold_overlay(NodeId published_directory) {
  switch (published_directory.kind()) {
    case NodeKind::fixed:
    case NodeKind::repo:
    case NodeKind::blobs_root:
    case NodeKind::refs_root:
    case NodeKind::ref:
    case NodeKind::trees:
    case NodeKind::no_exist:
    case NodeKind::no_exist_dir:
    case NodeKind::absent_dir:
      return true;
    default:
      return false;
  }
}

}  // namespace hffs::fs
