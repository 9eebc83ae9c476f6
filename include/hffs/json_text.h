// SPDX-License-Identifier: Apache-2.0
//
// JSON to and from text, compiled once: the library's parser and printer are templates, which cost seconds wherever they
// are named. Threads: any; nothing blocks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hffs {

// Where it is no JSON the value is_discarded(): it is no object, no array and no text.
nlohmann::json parse_json(std::string_view text);
// On one line; bytes that are no UTF-8 are replaced.
std::string json_text(const nlohmann::json& value);
// For people, on as many lines as it has members.
std::string pretty_json(const nlohmann::json& value);

}  // namespace hffs
