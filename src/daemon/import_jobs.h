// SPDX-License-Identifier: Apache-2.0
//
// Imports that are asked for over the control socket: {"command":"import"} starts one and answers
// with its number, {"command":"import-progress"} looks at it. An import that nobody looks at any
// more is stopped. Threads: any may ask; one of its own stops what was left. Blocks on the local
// disk only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "control_server.h"
#include "hffs/carry.h"
#include "hffs/guarded.h"

namespace hffs {

class ImportJobs {
 public:
  ImportJobs(Trees& trees, Store& store, Disk& disk);

  // "path"; of a plain folder also "repo" and "revision"; "confirmed_only", "compare", and "device" and
  // "inode", which the folder must have (carry.h).
  Result<nlohmann::json> start(const Peer& peer, const nlohmann::json& request);
  // "job"; "from": where the report's lists go on.
  Result<nlohmann::json> look(const Peer& peer, const nlohmann::json& request);

 private:
  struct Job {
    std::uint64_t number = 0;
    std::unique_ptr<Importer> importer;
    std::chrono::steady_clock::time_point looked_at{};
    bool left() const;
  };

  void watch(const std::stop_token& stop);

  Trees& trees_;
  Store& store_;
  Disk& disk_;
  Guarded<Job> job_;  // the last one
  std::condition_variable_any wake_;
  std::jthread watcher_;
};

}  // namespace hffs
