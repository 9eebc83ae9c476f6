// SPDX-License-Identifier: Apache-2.0
//
// The origin that a configuration asks for: the Hub, a folder, or several as one. Blocks on nothing.
#pragma once

#include <memory>

#include "hffs/clock.h"
#include "hffs/daemon.h"
#include "hffs/hub.h"
#include "hffs/telemetry.h"

namespace hffs {

// `credentials` of users, where there are any, outlive it.
Result<std::unique_ptr<Origin>> open_origin(const Config& config, Credentials* credentials,
                                            const Clock& clock, Metrics& metrics);
// Whether bytes can be had without the network.
bool has_folder(const Config& config);
bool has_hub(const Config& config);

}  // namespace hffs
