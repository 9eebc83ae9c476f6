// SPDX-License-Identifier: Apache-2.0
//
// Making, removing and moving the overlay's nodes. The tree changes first; its row is queued under the
// same lock, so that rows are committed in the order of the changes.
#include "overlay.h"

namespace hffs::fs {
Result<Entry> Overlay::make(const Caller& caller, const New& what) {
  std::uint64_t number = 0;
  const auto done = rows_.done_for(caller.request);
  {
    auto state = state_.lock();
    if (const OverlayNode* made = done ? state->tree.find(*done) : nullptr) return entry_of(*made);
    if (state->tree.child(caller.uid, what.directory, what.name) != nullptr)
      return fail(Code::exists, "{} exists", what.name);
    number = state->next_number++;
  }
  std::shared_ptr<DataFile> data;
  if (what.kind == FileKind::regular) {
    data = data_of(number);
    if (auto created = data->create(); !created) return fail(created);
  }
  Result<Entry> entry;
  {
    auto state = state_.lock();
    entry = make_locked(*state, caller, what, number, data);
  }
  if (!entry && data) discard({data});
  rows_.ease();
  return entry;
}

Result<Entry> Overlay::make_locked(State& state, const Caller& caller, const New& what,
                                   std::uint64_t number, std::shared_ptr<DataFile> data) {
  if (state.tree.child(caller.uid, what.directory, what.name) != nullptr)
    return fail(Code::exists, "{} exists", what.name);
  if (what.directory.kind() == NodeKind::overlay) {
    const OverlayNode* parent = state.tree.find(what.directory.payload());
    if (parent == nullptr || !parent->named()) return fail(Code::not_found, "the directory was removed");
  }
  if (auto room = check_limit(state, caller.uid, kNodeBytes, 1); !room) return fail(room);
  OverlayNode& node = add_node(state, {.row = {.number = number,
                                               .user = caller.uid,
                                               .group = caller.gid,
                                               .kind = what.kind,
                                               .territory = what.territory,
                                               .mode = what.mode & 07777,
                                               .modified = clock_.wall(),
                                               .parent = what.directory,
                                               .name = std::string(what.name),
                                               .target = std::string(what.target)},
                                       .data = std::move(data)});
  rows_.write({RowWriter::put(node.row)}, caller.request);
  return entry_of(node);
}

Entry Overlay::make_absorbing(const Caller& caller, NodeId directory, std::string_view name) {
  const auto done = rows_.done_for(caller.request);
  auto state = state_.lock();
  if (const OverlayNode* made = done ? state->tree.find(*done) : nullptr) return entry_of(*made);
  const std::uint64_t number = state->next_number++;
  const OverlayNode& node = add_node(*state, {.row = {.number = number,
                                                      .user = caller.uid,
                                                      .group = caller.gid,
                                                      .territory = Territory::refs,
                                                      .mode = 0644,
                                                      .modified = clock_.wall(),
                                                      .parent = directory,
                                                      .name = std::string(name),
                                                      .standing = Standing::absorbing},
                                              .data = {}});
  rows_.write({RowWriter::put(node.row)}, caller.request);
  Entry entry = entry_of(node);
  entry.attr.links = 1;
  return entry;
}

// Takes a node's name; unless it is open, the node itself too, and its bytes.
Overlay::Leftover Overlay::take_out(State& state, OverlayNode& node) {
  state.tree.take_name(node);
  if (node.opens > 0) return {{}, RowWriter::put(node.row)};
  Leftover left{node.data, RowWriter::erase(node.row.number)};
  drop_node(state, node);
  return left;
}

void Overlay::discard(const Leftover& leftover) {
  if (!leftover.data) return;
  if (auto removed = disk_.remove(leftover.data->path()); !removed)
    log(Level::warn, "fs", "a removed overlay file still takes space: {}",
        removed.error().message);
}

Result<void> Overlay::remove(const Caller& caller, NodeId directory, std::string_view name,
                             bool is_directory) {
  if (was_done(caller)) return {};
  const uid_t user = caller.uid;
  Leftover left;
  {
    auto state = state_.lock();
    OverlayNode* node = state->tree.child(user, directory, name);
    if (node == nullptr) return no_such(name);
    const bool found_directory = node->row.kind == FileKind::directory;
    if (is_directory && !found_directory) return fail(Code::not_directory, "not a directory");
    if (!is_directory && found_directory) return fail(Code::is_directory, "a directory");
    if (node->moving) return fail(Code::busy, "{} is on its way to be a blob", name);
    if (state->tree.has_children(user, NodeId::of(NodeKind::overlay, node->row.number)))
      return fail(Code::not_empty, "{} is not empty", name);
    left = take_out(*state, *node);
    rows_.write({left.edit}, caller.request);
  }
  discard(left);
  rows_.ease();
  return {};
}

Result<void> Overlay::check_replace(State& state, const OverlayNode& node, OverlayNode* target) {
  if (target == nullptr) return {};
  const bool directory = node.row.kind == FileKind::directory;
  const bool onto_directory = target->row.kind == FileKind::directory;
  if (directory && !onto_directory) return fail(Code::not_directory, "not a directory");
  if (!directory && onto_directory) return fail(Code::is_directory, "a directory");
  if (target->moving) return fail(Code::busy, "the target is on its way to be a blob");
  if (state.tree.has_children(target->row.user, NodeId::of(NodeKind::overlay, target->row.number)))
    return fail(Code::not_empty, "{} is not empty", target->row.name);
  return {};
}

Result<void> Overlay::move(const Caller& caller, const Move& move) {
  const uid_t user = caller.uid;
  Leftover left;
  {
    auto state = state_.lock();
    OverlayNode* node = state->tree.child(user, move.from, move.name);
    if (node == nullptr) return no_such(move.name);
    if (node->moving) return fail(Code::busy, "{} is on its way to be a blob", move.name);
    if (state->tree.lies_below(move.to, node->row.number))
      return fail(Code::invalid, "a directory cannot be moved into itself");
    OverlayNode* target = state->tree.child(user, move.to, move.new_name);
    if (target == node) return {};
    if (target != nullptr && !move.replace) return fail(Code::exists, "{} exists", move.new_name);
    if (auto free = check_replace(*state, *node, target); !free) return free;
    if (target != nullptr) left = take_out(*state, *target);
    state->tree.move(*node, move.to, std::string(move.new_name));
    std::vector<RowWriter::Edit> edits{RowWriter::put(node->row)};
    if (left.edit.number != 0) edits.push_back(left.edit);
    rows_.write(std::move(edits), caller.request);
  }
  discard(left);
  rows_.ease();
  return {};
}

Result<Overlay::Content> Overlay::begin_import(uid_t user, NodeId directory,
                                               std::string_view name) {
  std::shared_ptr<DataFile> data;
  NodeId id;
  bool lost = false;
  {
    auto state = state_.lock();
    OverlayNode* node = state->tree.child(user, directory, name);
    if (node == nullptr) return no_such(name);
    if (node->row.kind != FileKind::regular)
      return fail(Code::refused, "{} is not a regular file", name);
    if (node->moving) return fail(Code::busy, "{} is on its way to be a blob", name);
    node->moving = true;
    data = node->data;
    lost = node->lost && node->size == 0;
    id = NodeId::of(NodeKind::overlay, node->row.number);
  }
  data->close_to_writers();
  return Content{id, data->path(), lost};
}

void Overlay::end_import(const Caller& caller, NodeId node, bool taken) {
  auto state = state_.lock();
  OverlayNode* found = state->tree.find(node.payload());
  if (found == nullptr) return;
  if (taken) {
    // Its bytes are the store's now: they count no more, and stay closed to old descriptors.
    count(*state, found->row.user, -static_cast<std::int64_t>(found->size));
    found->size = 0;
    const std::uint64_t number = found->row.number;
    take_out(*state, *found);
    rows_.write({RowWriter::erase(number)}, caller.request);
  } else {
    found->moving = false;
    found->data->open_to_writers();
  }
}

}  // namespace hffs::fs
