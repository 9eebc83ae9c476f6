// SPDX-License-Identifier: Apache-2.0
//
// Long work, in the daemon or, where none runs, in this process: started, looked at, and its report.
// Threads: main only; blocks until it is done.
#pragma once

#include <nlohmann/json.hpp>

#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs::cli {

// With progress on standard error. The lists of its report, each whole, beside its last progress.
// `given` goes along with the request.
Result<nlohmann::json> run_job(Conversation& conversation, const nlohmann::json& request, UniqueFd given = {});
Result<nlohmann::json> run_job(const Flags& flags, const nlohmann::json& request, UniqueFd given = {});

}  // namespace hffs::cli
