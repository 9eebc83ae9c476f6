// SPDX-License-Identifier: Apache-2.0
//
// What is said of a command that does not exist: the one that was meant, if a letter or two are wrong.
// Threads: main only.
#pragma once

#include <CLI/CLI.hpp>
#include <string_view>

#include "hffs/error.h"

namespace hffs::cli {

std::unexpected<Error> unknown_command(const CLI::App& app, std::string_view given);

}  // namespace hffs::cli
