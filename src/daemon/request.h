// SPDX-License-Identifier: Apache-2.0
//
// What a question over the control socket says. Threads: any; nothing blocks.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "control_server.h"
#include "hffs/error.h"

namespace hffs {

// A member of the question, or `otherwise` where there is none. Code::invalid if it is of another
// kind.
Result<std::string> text_of(const nlohmann::json& request, const char* name,
                            std::optional<std::string> otherwise);
Result<bool> switch_of(const nlohmann::json& request, const char* name);
Result<std::uint64_t> number_of(const nlohmann::json& request, const char* name);

}  // namespace hffs
