// SPDX-License-Identifier: Apache-2.0
#include "hffs/globs.h"

#include <fnmatch.h>

#include <algorithm>

namespace hffs {

bool Globs::takes(const std::string& path) const {
  const auto matches = [&](const std::string& pattern) {
    const std::string whole = pattern.ends_with('/') ? pattern + '*' : pattern;
    return ::fnmatch(whole.c_str(), path.c_str(), FNM_NOESCAPE) == 0;
  };
  if (!include.empty() && std::ranges::none_of(include, matches)) return false;
  return std::ranges::none_of(exclude, matches);
}

}  // namespace hffs
