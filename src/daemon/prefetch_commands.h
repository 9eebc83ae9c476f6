// SPDX-License-Identifier: Apache-2.0
//
// prefetch: all files of a commit, or those of some names, are brought here and verified (prefetch_queue.h). Any user may,
// of what he may see, on his own budget. Threads: start() on the control thread; completions on any. Blocks on the local
// disk only.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "control_server.h"
#include "download_watch.h"
#include "hffs/catalog.h"
#include "hffs/prefetch_queue.h"
#include "hffs/store.h"

namespace hffs {

class PrefetchCommands {
 public:
  struct Parts {
    std::shared_ptr<PrefetchQueue> queue;  // walks under way keep them
    std::shared_ptr<Catalog> catalog;
    Store& store;
    std::string mount_point;
  };
  explicit PrefetchCommands(Parts parts) : parts_(std::make_shared<const Parts>(std::move(parts))) {}

  // As start(), for who has come to a repository by `hf download`: nobody waits for it, and it stays.
  void begin(const Caller& caller, const DownloadCommand& command) const;
  // {"repo": …, "revision": "main", "include": […], "exclude": […], "stays": false}: the number of the order as "job", and
  // what it is about.
  void start(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  // {"job": …}
  Result<nlohmann::json> look(const Peer& peer, const nlohmann::json& request) const;
  Result<nlohmann::json> cancel(const Peer& peer, const nlohmann::json& request) const;
  // Those that the peer may hear of, without their files.
  nlohmann::json list(const Peer& peer) const;

 private:
  void order(const Caller& caller, const DownloadCommand& what, bool stays, Done<nlohmann::json> done) const;
  Result<PrefetchQueue::State> find(const Peer& peer, const nlohmann::json& request) const;

  const std::shared_ptr<const Parts> parts_;
};

}  // namespace hffs
