// SPDX-License-Identifier: Apache-2.0
//
// The origin that a configuration asks for: the Hub, a folder, or several as one. Blocks on nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hffs/clock.h"
#include "hffs/daemon.h"
#include "hffs/hub.h"
#include "hffs/telemetry.h"

namespace hffs {

// `credentials` of users, where there are any, outlive it. `unreadable`: as in FolderOptions.
Result<std::unique_ptr<Origin>> open_origin(const Config& config, Credentials* credentials,
                                            std::function<void(const std::string& folder)> unreadable,
                                            const Clock& clock, Metrics& metrics);
// Whether bytes can be had without the network.
bool has_folder(const Config& config);
std::vector<std::string> folders_of(const Config& config);  // their paths
bool has_hub(const Config& config);

}  // namespace hffs
