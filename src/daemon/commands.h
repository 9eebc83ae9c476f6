// SPDX-License-Identifier: Apache-2.0
//
// What can be asked of a running daemon over its socket: status, path, stop, and what import_jobs.h,
// verify_jobs.h, storage_commands.h and version_commands.h have. Threads: answer() on the control
// thread; completions on any. Blocks on the local disk only.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/access.h"
#include "hffs/budget.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/daemon.h"
#include "hffs/filesystem.h"
#include "hffs/hub.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"
#include "hffs/transfer.h"
#include "import_jobs.h"
#include "login_commands.h"
#include "origin.h"
#include "storage_commands.h"
#include "verify_jobs.h"
#include "version_commands.h"

namespace hffs {

class Commands : public std::enable_shared_from_this<Commands> {
 public:
  struct Parts {
    const Config& config;
    const Clock& clock;
    const Metrics& metrics;
    Origin& origin;
    AccessControl& access;
    Wallet& wallet;
    Store& store;
    std::shared_ptr<Catalog> catalog;  // walks under way keep it
    const TransferEngine& transfer;
    const FuseServer& server;
    ImportJobs& imports;
    VerifyJobs& verifications;
    Recorder& recorder;
    const Budget& budget;
    std::uint64_t workers = 1;  // that have served this mount, this one included
    std::function<void(const Peer&)> stop;  // ends the daemon, later
  };
  explicit Commands(Parts parts)
      : parts_(std::move(parts)),
        storage_(parts_.store, parts_.catalog, parts_.clock),
        versions_({.store = parts_.store,
                   .origin = parts_.origin,
                   .catalog = parts_.catalog,
                   .recorder = parts_.recorder,
                   .clock = parts_.clock,
                   .has_hub = has_hub(parts_.config)}),
        logins_(parts_.origin, parts_.access, parts_.wallet),
        started_(parts_.clock.now()) {}

  void answer(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);

 private:
  void dispatch(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  // Of a repository that is another's nobody hears here either; but who has the store may list it.
  bool sees(const Peer& peer, const RepoId& repo) const;
  nlohmann::json status(const Peer& peer) const;
  nlohmann::json scrub(const Peer& peer) const;
  nlohmann::json budget(const Peer& peer) const;
  void find_path(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  Result<nlohmann::json> stop(const Peer& peer);

  const Parts parts_;
  StorageCommands storage_;
  VersionCommands versions_;
  LoginCommands logins_;
  const Instant started_;
};

}  // namespace hffs
