// SPDX-License-Identifier: Apache-2.0
//
// Proxies: which proxy a request goes through, as libcurl would choose it from the usual variables. Chosen
// here, because what a connection leads to can be told from its address only where no proxy is in between.
// Pure; threads: any.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "url.h"

namespace hffs::hub {

struct Proxies {
  std::string http, https;          // empty: none
  std::vector<std::string> exempt;  // of NO_PROXY: names, addresses, networks; "*"

  // Empty: none.
  std::string_view of(const Url& url) const;
};

using Variable = std::function<std::string(const char* name)>;  // empty: not set
Proxies read_proxies(const Variable& variable);

}  // namespace hffs::hub
