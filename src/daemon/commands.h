// SPDX-License-Identifier: Apache-2.0
//
// What can be asked of a running daemon over its socket: status, path, stop, and what import_jobs.h,
// verify_jobs.h, storage_commands.h, version_commands.h, login_commands.h, activity_commands.h and prefetch_commands.h have. Threads: answer() on the control
// thread; what only looks (status, activity, ls, files) on any, as completions are. Blocks on the local disk only.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "activity_commands.h"
#include "hffs/access.h"
#include "hffs/activity.h"
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
#include "prefetch_commands.h"
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
    ImportJobs& imports;
    VerifyJobs& verifications;
    Recorder& recorder;
    const Activity& activity;
    std::weak_ptr<PrefetchQueue> prefetches;
    std::function<ReadMode()> read_mode;
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
        logins_(parts_.origin, parts_.access, parts_.wallet, parts_.config.anonymous),
        activity_({.activity = parts_.activity,
                   .access = parts_.access,
                   .store = parts_.store,
                   .origin = parts_.origin,
                   .catalog = parts_.catalog,
                   .read_mode = parts_.read_mode,
                   .backing_from = FileSystemOptions{}.backing_from,
                   .mount_point = parts_.config.mount_point,
                   .offline = parts_.config.offline && !parts_.config.offline_partial && !has_folder(parts_.config),
                   .strict = parts_.config.strict}),
        prefetches_({.queue = parts_.prefetches,
                     .catalog = parts_.catalog,
                     .store = parts_.store,
                     .mount_point = parts_.config.mount_point}),
        started_(parts_.clock.now()) {}

  // Somebody has come to a repository (prefetch_commands.h).
  void entered(const Caller& caller, const RepoId& repo) const { prefetches_.entered(caller, repo); }
  // `given`: as ControlServer::Handler.
  void answer(const Peer& peer, const nlohmann::json& request, UniqueFd given, Done<nlohmann::json> done);

 private:
  void dispatch(const Peer& peer, const nlohmann::json& request, UniqueFd given, Done<nlohmann::json> done);
  // Of a repository that is another's nobody hears here either; but who has the store may list it.
  bool sees(const Peer& peer, const RepoId& repo) const;
  nlohmann::json status(const Peer& peer) const;
  nlohmann::json activity(const Peer& peer) const;
  nlohmann::json endpoints() const;
  nlohmann::json transfer() const;
  nlohmann::json metrics() const;
  nlohmann::json scrub(const Peer& peer) const;
  nlohmann::json budget(const Peer& peer) const;
  void find_path(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  Result<nlohmann::json> stop(const Peer& peer);

  const Parts parts_;
  StorageCommands storage_;
  VersionCommands versions_;
  LoginCommands logins_;
  ActivityCommands activity_;
  PrefetchCommands prefetches_;
  const Instant started_;
};

}  // namespace hffs
