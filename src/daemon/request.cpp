// SPDX-License-Identifier: Apache-2.0
#include "request.h"

namespace hffs {

Result<std::string> text_of(const nlohmann::json& request, const char* name,
                            std::optional<std::string> otherwise) {
  const auto found = request.find(name);
  if (found == request.end() && otherwise) return *otherwise;
  if (found == request.end() || !found->is_string())
    return fail(Code::invalid, "the request needs a string \"{}\"", name);
  return found->get<std::string>();
}

Result<bool> switch_of(const nlohmann::json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end()) return false;
  if (!found->is_boolean()) return fail(Code::invalid, "\"{}\" must be true or false", name);
  return found->get<bool>();
}

Result<std::uint64_t> number_of(const nlohmann::json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end()) return 0;
  if (!found->is_number_unsigned()) return fail(Code::invalid, "\"{}\" must be a number", name);
  return found->get<std::uint64_t>();
}

}  // namespace hffs
