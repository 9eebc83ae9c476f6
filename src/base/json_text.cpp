// SPDX-License-Identifier: Apache-2.0
#include "hffs/json_text.h"

namespace hffs {
namespace {

using nlohmann::json;

std::string text_of(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

}  // namespace

json parse_json(std::string_view text) {
  return json::parse(text, nullptr, false);
}

std::string json_text(const json& value) {
  return text_of(value, -1);
}

std::string pretty_json(const json& value) {
  return text_of(value, 2);
}

}  // namespace hffs
