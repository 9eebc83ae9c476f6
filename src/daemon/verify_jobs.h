// SPDX-License-Identifier: Apache-2.0
//
// Verifications that are asked for over the control socket: {"command":"verify"}, as jobs.h has it.
// Threads: any may ask; start() answers now or later. Blocks on the local disk only.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/catalog.h"
#include "hffs/scrub.h"
#include "hffs/store.h"
#include "jobs.h"

namespace hffs {

class VerifyJobs : public std::enable_shared_from_this<VerifyJobs> {
 public:
  VerifyJobs(std::shared_ptr<Catalog> catalog, Store& store, const Clock& clock)
      : catalog_(std::move(catalog)), store_(store), clock_(clock) {}

  // Without "repo" all that is verified; "revision": of that commit only.
  void start(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done);
  Result<nlohmann::json> look(const Peer& peer, const nlohmann::json& request);

 private:
  Result<nlohmann::json> begin(const Peer& peer,
                               std::optional<std::vector<std::uint64_t>> blobs);

  const std::shared_ptr<Catalog> catalog_;
  Store& store_;
  const Clock& clock_;
  Jobs jobs_{"verification"};
};

// With the file that the blob is, in the first repository that has it.
nlohmann::json to_json(const Finding& finding, Catalog& catalog);

}  // namespace hffs
