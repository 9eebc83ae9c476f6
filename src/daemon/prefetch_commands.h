// SPDX-License-Identifier: Apache-2.0
//
// prefetch: all files of a commit, or those of some names, are brought here and verified (prefetch_queue.h). Any user may,
// of what he may see, on his own budget. Threads: start() on the control thread, entered() on any; what takes long is done on
// the queue's thread. Blocks on the local disk only.
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
    // Not kept by walks under way: what asks a Hub may outlast both.
    std::weak_ptr<PrefetchQueue> queue;
    std::weak_ptr<Catalog> catalog;
    Store& store;  // outlives the queue
    std::string mount_point;
  };
  explicit PrefetchCommands(Parts parts) : parts_(std::make_shared<const Parts>(std::move(parts))) {}

  // Somebody has come to a repository: if it is by `hf download`, that is an order for which nobody waits, and which stays.
  // Returns at once.
  void entered(const Caller& caller, const RepoId& repo) const;
  // {"repo": …, "revision": "main", "include": […], "exclude": […], "stays": false}: the number of the order as "job", and
  // what it is about.
  void start(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  // {"job": …}
  Result<nlohmann::json> look(const Peer& peer, const nlohmann::json& request) const;
  Result<nlohmann::json> cancel(const Peer& peer, const nlohmann::json& request) const;
  // Those that the peer may hear of, without their files.
  nlohmann::json list(const Peer& peer) const;

 private:
  static void order(std::shared_ptr<const Parts> parts, const Caller& caller, DownloadCommand what, bool stays,
                    Done<nlohmann::json> done);
  static void add(const Parts& parts, PrefetchOrder order, Done<nlohmann::json> done);
  Result<PrefetchQueue::State> find(const Peer& peer, const nlohmann::json& request) const;

  const std::shared_ptr<const Parts> parts_;
  const std::shared_ptr<DownloadWatch> watch_ = std::make_shared<DownloadWatch>();
};

}  // namespace hffs
