// SPDX-License-Identifier: Apache-2.0
//
// Imports that are asked for over the control socket: {"command":"import"}, as jobs.h has it.
// Threads: any may ask. Blocks on the local disk only.
#pragma once

#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/carry.h"
#include "jobs.h"

namespace hffs {

class ImportJobs {
 public:
  // `mount_point` empty: nothing is mounted.
  ImportJobs(std::string mount_point, Trees& trees, Store& store, Disk& disk)
      : mount_point_(std::move(mount_point)), trees_(trees), store_(store), disk_(disk) {}

  // "path"; of a plain folder also "repo" and "revision"; "confirmed_only", "compare", and "device" and
  // "inode", which the folder must have (carry.h). `lent`: the borrower's end, for who asks reads the folder (lending.h).
  Result<nlohmann::json> start(const Peer& peer, const nlohmann::json& request, UniqueFd lent);
  Result<nlohmann::json> look(const Peer& peer, const nlohmann::json& request);

 private:
  Result<void> check_outside(const std::string& path) const;

  const std::string mount_point_;
  Trees& trees_;
  Store& store_;
  Disk& disk_;
  Jobs jobs_{"import"};
};

}  // namespace hffs
