// SPDX-License-Identifier: Apache-2.0
//
// A question to the daemon that a command means. Threads: main only; blocks.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs::cli {

// Of a daemon that walks many repositories, or has the Hub list a large tree.
constexpr std::chrono::minutes kLongAnswer{2};
// Between two looks at work that goes on.
constexpr std::chrono::milliseconds kPause{100};

struct DaemonName {
  std::string mount_point;  // empty: the daemon of the state directory
  Flags flags;
};

// The socket of the daemon that is meant.
Result<std::string> find_socket(const DaemonName& where);
// Where it has mounted, as an absolute path.
Result<std::string> find_mount(const DaemonName& where);
std::string absolute_mount(const std::string& mount_point);
// Code::unreachable, with what to do, if no daemon runs there.
Result<nlohmann::json> ask(const DaemonName& where, const nlohmann::json& request,
                           std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace hffs::cli
