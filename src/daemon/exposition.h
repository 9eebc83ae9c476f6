// SPDX-License-Identifier: Apache-2.0
//
// The figures of a daemon as Prometheus reads them: its text format, version 0.0.4. Threads: any; pure.
//
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/practices/naming/.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace hffs {

inline constexpr const char* kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

// Of what the command "activity" answers.
std::string exposition(const nlohmann::json& activity);

}  // namespace hffs
