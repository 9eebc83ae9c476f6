// SPDX-License-Identifier: Apache-2.0
//
// activity: who reads what, what failed a short while ago, and how the daemon fares; explain: why a path of the mount looks
// as it does to who asks. A user hears of his own; who has the store of everybody. Threads: answer() on the control thread;
// completions on any. Blocks on the local disk only.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/access.h"
#include "hffs/activity.h"
#include "hffs/catalog.h"
#include "hffs/filesystem.h"
#include "hffs/hub.h"
#include "hffs/store.h"
#include "hffs/versions.h"

namespace hffs {

class ActivityCommands {
 public:
  struct Parts {
    const Activity& activity;
    AccessControl& access;
    Store& store;
    Origin& origin;
    std::shared_ptr<Catalog> catalog;  // walks under way keep it
    std::function<ReadMode()> read_mode;
    std::uint64_t backing_from;  // the size from which on passthrough is worth it
    std::string mount_point;
    bool offline = false;  // … and what is not wholly here is refused
    bool strict = false;
  };
  explicit ActivityCommands(Parts parts) : parts_(std::make_shared<const Parts>(std::move(parts))) {}

  // {"readers": […], "failures": […]}: the longest wait, and the latest failure, first.
  nlohmann::json activity(const Peer& peer) const;
  nlohmann::json failures(const Peer& peer) const;  // the newest first
  // {"path": …}: below the mount point, without it.
  void explain(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;

 private:
  const std::shared_ptr<const Parts> parts_;  // walks under way keep them
};

}  // namespace hffs
