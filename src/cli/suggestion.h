// SPDX-License-Identifier: Apache-2.0
//
// What somebody may have meant who has mistyped a command or a repository. Threads: main only; suggest_repo() asks the
// daemon, which answers from its index.
#pragma once

#include <CLI/CLI.hpp>
#include <string_view>

#include "ask.h"
#include "hffs/error.h"

namespace hffs::cli {

std::unexpected<Error> unknown_command(const CLI::App& app, std::string_view given);

// "; did you mean ORG/NAME?", of those that are known here; "" if none is near.
std::string suggest_repo(const DaemonName& where, const std::string& given);

}  // namespace hffs::cli
