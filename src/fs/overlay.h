// SPDX-License-Identifier: Apache-2.0
//
// Overlay: what clients write, each user alone. Nodes and names are in memory and in the index
// (overlay_rows.h), bytes in one file each. A node's number is its node id's payload; it outlives the
// process.
//
// Threads: any. Calls may block on the local disk, never on the network. One lock guards the tree; it
// is not held while bytes move.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hffs/filesystem.h"
#include "hffs/guarded.h"
#include "overlay_tree.h"

namespace hffs::fs {

inline std::unexpected<Error> no_such(std::string_view name) {
  return fail(Code::not_found, "no such name: {}", name);
}

// What a name costs in memory and in the index, roundly.
inline constexpr std::uint64_t kNodeBytes = 4'096;

class Overlay {
 public:
  struct Share {  // nothing: no limit
    std::optional<std::uint64_t> bytes, files;
  };
  struct Limits {
    Share user, all;  // of each user, and of all together; not for root and `own`
    uid_t own = 0;
    std::function<uid_t(uid_t)> owner_of{};  // whose a uid's files count as; empty: its own
  };
  // Reads the rows, with the changes that a process before this one had not written and the nodes that it
  // had open, and removes data files that no row names. `handover` outlives it.
  static Result<std::shared_ptr<Overlay>> open(Store& store, Disk& disk, const Clock& clock,
                                               Metrics& metrics, Handover& handover,
                                               Limits limits);

  // Names. A directory is published, or an overlay node of the same user.
  std::optional<Entry> lookup(uid_t user, NodeId directory, std::string_view name);
  std::vector<DirItem> list(uid_t user, NodeId directory, std::uint64_t after, std::size_t most);
  // Fails if it is not this user's directory.
  Result<Territory> territory(uid_t user, NodeId directory);
  // A directory's path below the published one that it lies in, "" or with '/' at its end.
  struct Place {
    NodeId published;
    std::string path;
  };
  Place place_of(NodeId directory);

  // Nodes.
  Result<Entry> attributes(NodeId node);
  Result<Entry> change(uid_t user, NodeId node, const SetAttr& change);
  Result<std::string> read_link(NodeId node);
  Result<void> open_file(uid_t user, NodeId node, bool truncate);
  struct Absorbed {  // where a ref was written
    NodeId directory;
    std::string name;
  };
  // Opened so often in an earlier process.
  void reopen(NodeId node, std::uint32_t count);
  std::optional<Absorbed> close_file(NodeId node);
  Result<std::vector<std::byte>> read(NodeId node, ByteRange range);
  Result<std::size_t> write(NodeId node, std::uint64_t offset, std::span<const std::byte> bytes);
  Result<void> sync(NodeId node);

  // Changes.
  struct New {
    NodeId directory;
    std::string_view name;
    FileKind kind = FileKind::regular;
    Territory territory = Territory::ordinary;
    std::uint32_t mode = 0;
    std::string_view target;
  };
  Result<Entry> make(const Caller& caller, const New& what);
  // A file without a name, whose content is never read.
  Entry make_absorbing(const Caller& caller, NodeId directory, std::string_view name);
  // not_found: the user has no node of that name.
  Result<void> remove(const Caller& caller, NodeId directory, std::string_view name,
                      bool is_directory);
  struct Move {
    NodeId from;
    std::string_view name;
    NodeId to;
    std::string_view new_name;
    bool replace = true;
  };
  Result<void> move(const Caller& caller, const Move& move);

  // A file whose content is to become a blob: nobody can write to it from begin to end.
  struct Content {
    NodeId node;
    std::string path;
    bool lost = false;  // nothing is there; the store may have taken it when a process ended
  };
  Result<Content> begin_import(uid_t user, NodeId directory, std::string_view name);
  void end_import(const Caller& caller, NodeId node, bool taken);

  // Whether a process before this one has done what the caller asks for, and told nobody.
  bool was_done(const Caller& caller) const { return rows_.done_for(caller.request).has_value(); }

  // Until all changes are durable.
  Result<void> flush() { return rows_.wait(); }

 private:
  struct State {
    OverlayTree tree;
    struct Used {
      std::uint64_t bytes = 0, files = 0;
    };
    std::unordered_map<uid_t, Used> used;  // by payer()
    Used all;
    std::uint64_t next_number = 0;
  };
  // What is to be done to the disk once the lock is gone, and to the index now.
  struct Leftover {
    std::shared_ptr<DataFile> data;
    RowWriter::Edit edit;
  };

  Overlay(Store& store, Disk& disk, const Clock& clock, Metrics& metrics, Handover& handover,
          Limits limits, std::string directory);
  void load(const Handover& handover);
  void remove_orphans();
  std::shared_ptr<DataFile> data_of(std::uint64_t number) const;
  Entry entry_of(const OverlayNode& node) const;
  Result<Entry> make_locked(State& state, const Caller& caller, const New& what,
                            std::uint64_t number, std::shared_ptr<DataFile> data);
  Result<void> check_replace(State& state, const OverlayNode& node, OverlayNode* target);
  // Every node counts against its user's limit and against that of all, its bytes too.
  OverlayNode& add_node(State& state, OverlayNode node);
  void drop_node(State& state, const OverlayNode& node);
  void count(State& state, uid_t user, std::int64_t bytes, std::int64_t files = 0) const;
  Result<void> check_limit(const State& state, uid_t user, std::uint64_t bytes,
                           std::uint64_t files) const;
  Result<void> resize(State& state, OverlayNode& node, std::uint64_t size);
  void settle_size(NodeId node);
  Leftover take_out(State& state, OverlayNode& node);
  void discard(const Leftover& leftover);

  Disk& disk_;
  const Clock& clock_;
  Metrics& metrics_;
  uid_t payer(uid_t user) const { return limits_.owner_of ? limits_.owner_of(user) : user; }

  const Limits limits_;
  const std::string directory_;
  Store& store_;
  RowWriter rows_;
  Guarded<State> state_;
};

}  // namespace hffs::fs
