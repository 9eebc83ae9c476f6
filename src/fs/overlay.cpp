// SPDX-License-Identifier: Apache-2.0
//
// Opening, names and attributes. Bytes and changes: overlay_files.cpp, overlay_changes.cpp.
#include "overlay.h"

#include <filesystem>
#include <set>

namespace hffs::fs {
namespace {

std::string file_name(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

}  // namespace

Overlay::Overlay(Store& store, Disk& disk, const Clock& clock, Metrics& metrics,
                 Handover& handover, Limits limits, std::string directory)
    : disk_(disk),
      clock_(clock),
      metrics_(metrics),
      limits_(limits),
      directory_(std::move(directory)),
      store_(store),
      rows_(store, handover) {}

Result<std::shared_ptr<Overlay>> Overlay::open(Store& store, Disk& disk, const Clock& clock,
                                               Metrics& metrics, Handover& handover,
                                               Limits limits) {
  auto directory = store.directory("overlay");
  if (!directory) return fail(directory);
  auto first = reserve_numbers(store);
  if (!first) return fail(std::move(first.error()).during("opening the overlay"));
  std::shared_ptr<Overlay> overlay(
      new Overlay(store, disk, clock, metrics, handover, limits, std::move(*directory)));
  overlay->state_.lock()->next_number = *first;
  if (auto written = overlay->rows_.go_on(); !written)
    return fail(std::move(written.error()).during("writing the overlay's last changes"));
  overlay->load(handover);
  overlay->remove_orphans();
  return overlay;
}

std::shared_ptr<DataFile> Overlay::data_of(std::uint64_t number) const {
  return std::make_shared<DataFile>(disk_, fmt::format("{}/{}", directory_, file_name(number)));
}

void Overlay::load(const Handover& handover) {
  std::set<std::uint64_t> open;
  for (const auto& [row, node] : handover.open_nodes())
    if (node.count > 0) open.insert(node.node);
  auto state = state_.lock();
  for (OverlayRow& row : load_rows(store_)) {
    OverlayNode node{.row = std::move(row), .data = {}};
    const std::uint64_t number = node.row.number;
    if (!node.named() && !open.contains(NodeId::of(NodeKind::overlay, number).value)) {
      rows_.write({RowWriter::erase(number)}, 0);
      continue;
    }
    if (node.row.kind == FileKind::regular && node.row.standing != Standing::absorbing) {
      node.data = data_of(number);
      // A file that a crash of the machine has lost comes back empty.
      const auto found = node.data->state();
      node.lost = !found;
      if (found) {
        node.size = found->size;
        node.row.modified = found->modified;
      }
    }
    add_node(*state, std::move(node));
  }
}

OverlayNode& Overlay::add_node(State& state, OverlayNode node) {
  count(state, node.row.user, static_cast<std::int64_t>(kNodeBytes + node.size), 1);
  metrics_.add(Metric::overlay_nodes);
  return state.tree.insert(std::move(node));
}

void Overlay::drop_node(State& state, const OverlayNode& node) {
  count(state, node.row.user, -static_cast<std::int64_t>(kNodeBytes + node.size), -1);
  metrics_.add(Metric::overlay_nodes, -1);
  state.tree.erase(node.row.number);
}

void Overlay::count(State& state, uid_t user, std::int64_t bytes, std::int64_t files) const {
  for (State::Used* used : {&state.used[payer(user)], &state.all}) {
    used->bytes += static_cast<std::uint64_t>(bytes);
    used->files += static_cast<std::uint64_t>(files);
  }
}

Result<void> Overlay::check_limit(const State& state, uid_t user, std::uint64_t bytes,
                                  std::uint64_t files) const {
  user = payer(user);
  if (user == 0 || user == limits_.own) return {};
  const auto fits = [](std::uint64_t has, std::uint64_t more, const auto& limit) {
    return !limit || (more <= *limit && has <= *limit - more);
  };
  const auto check = [&](const State::Used& used, const Share& limit, bool all) -> Result<void> {
    const bool size_fits = fits(used.bytes, bytes, limit.bytes);
    if (size_fits && fits(used.files, files, limit.files)) return {};
    const std::string who = all ? "all users have" : fmt::format("user {} has", user);
    const std::string_view key = all ? "total" : "user";
    return size_fits ? fail(Code::over_quota, "{} written {} files; {}_files is {}", who, used.files, key,
                            *limit.files)
                     : fail(Code::over_quota, "{} written {} bytes; {}_size is {}", who, used.bytes, key,
                            *limit.bytes);
  };
  const auto his = state.used.find(user);
  if (auto room = check(his == state.used.end() ? State::Used{} : his->second, limits_.user, false); !room)
    return room;
  return check(state.all, limits_.all, true);
}

void Overlay::remove_orphans() {
  auto state = state_.lock();
  std::error_code ignored;
  for (const auto& item : std::filesystem::directory_iterator(directory_, ignored)) {
    const std::string name = item.path().filename().string();
    std::uint64_t number = 0;
    if (is_hex(name, 16)) number = std::stoull(name, nullptr, 16);
    const OverlayNode* node = number == 0 ? nullptr : state->tree.find(number);
    if (node != nullptr && node->data) continue;
    if (auto removed = disk_.remove(item.path().string()); !removed)
      log(Level::warn, "fs", "a file left behind stays: {}", removed.error().message);
  }
}

Entry Overlay::entry_of(const OverlayNode& node) const {
  const OverlayRow& row = node.row;
  const NodeId id = NodeId::of(NodeKind::overlay, row.number);
  const std::uint64_t size = row.kind == FileKind::symlink ? row.target.size() : node.size;
  // No time to live: the next caller may be another user.
  return Entry{.node = id,
               .attr = {.kind = row.kind,
                        .inode = id.value,
                        .size = size,
                        .bytes_here = size,
                        .modified = row.modified,
                        .mode = row.mode,
                        .owner = row.user,
                        .group = row.group,
                        .links = node.named() ? 1u : 0u}};
}

std::optional<Entry> Overlay::lookup(uid_t user, NodeId directory, std::string_view name) {
  auto state = state_.lock();
  const OverlayNode* node = state->tree.child(user, directory, name);
  if (node == nullptr) return {};
  return entry_of(*node);
}

std::vector<DirItem> Overlay::list(uid_t user, NodeId directory, std::uint64_t after,
                                   std::size_t most) {
  std::vector<DirItem> items;
  auto state = state_.lock();
  for (const std::uint64_t number : state->tree.children(user, directory, after, most)) {
    const OverlayNode* node = state->tree.find(number);
    if (node == nullptr) continue;
    items.push_back(
        {node->row.name, NodeId::of(NodeKind::overlay, number), node->row.kind, number});
  }
  return items;
}

Result<Territory> Overlay::territory(uid_t user, NodeId directory) {
  if (directory.kind() != NodeKind::overlay) return territory_of(directory);
  auto state = state_.lock();
  const OverlayNode* node = state->tree.find(directory.payload());
  if (node == nullptr) return fail(Code::stale, "the directory is gone");
  if (node->row.user != user) return fail(Code::denied, "the directory is another user's");
  if (node->row.kind != FileKind::directory) return fail(Code::not_directory, "not a directory");
  if (!node->named()) return fail(Code::not_found, "the directory was removed");
  return node->row.territory;
}

Overlay::Place Overlay::place_of(NodeId directory) {
  Place place{directory, {}};
  auto state = state_.lock();
  while (place.published.kind() == NodeKind::overlay) {
    const OverlayNode* node = state->tree.find(place.published.payload());
    if (node == nullptr) break;
    place.path.insert(0, node->row.name + '/');
    place.published = node->row.parent;
  }
  return place;
}

Result<Entry> Overlay::attributes(NodeId node) {
  auto state = state_.lock();
  const OverlayNode* found = state->tree.find(node.payload());
  if (found == nullptr) return fail(Code::stale, "the file is gone");
  return entry_of(*found);
}

Result<std::string> Overlay::read_link(NodeId node) {
  auto state = state_.lock();
  const OverlayNode* found = state->tree.find(node.payload());
  if (found == nullptr) return fail(Code::stale, "the link is gone");
  if (found->row.kind != FileKind::symlink) return fail(Code::invalid, "not a symbolic link");
  return found->row.target;
}

}  // namespace hffs::fs
