// SPDX-License-Identifier: Apache-2.0
//
// What can be asked of a running daemon about the room that blobs take: gc, pin, unpin, pins.
// Threads: the control thread calls; answers come from any. Reads the index; nothing else blocks.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/bounds.h"
#include "hffs/catalog.h"
#include "hffs/pins.h"
#include "hffs/store.h"

namespace hffs {

class StorageCommands {
 public:
  StorageCommands(Store& store, std::shared_ptr<Catalog> catalog, const Clock& clock)
      : store_(store), catalog_(std::move(catalog)), pins_(std::make_shared<Pins>(store, clock)) {}

  // {"repo": …, "unreferenced": false, "imported": false, "dry_run": false}: what is named goes, but
  // for the only copies unless "imported", then what the limits demand.
  void collect(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  // {"repo": …, "revision": …}: a revision is pinned as the commit that it is now.
  void pin(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  void unpin(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  nlohmann::json pins(const std::function<bool(const RepoId&)>& sees) const;

 private:
  void change(const Peer& peer, const nlohmann::json& request, bool add,
              Done<nlohmann::json> done);

  Store& store_;
  const std::shared_ptr<Catalog> catalog_;
  const std::shared_ptr<Pins> pins_;  // walks under way keep it
};

}  // namespace hffs
