// SPDX-License-Identifier: Apache-2.0
//
// What an answer's status and error headers mean: X-Error-Code first, then X-Error-Message, then
// the status. Pure. Source: huggingface_hub 2.4.0 `utils/_http.py` hf_raise_for_status, plus what
// mirrors do instead (docs/HUB_PROTOCOL.md).
#pragma once

#include <string_view>

#include "headers.h"
#include "hffs/error.h"

namespace hffs::hub {

enum class Verdict : std::uint8_t {
  ok,
  repo_missing,  // or private to others
  revision_missing,
  entry_missing,
  missing,      // a 404 that says no more: a mirror, or an unknown route
  needs_login,  // gated and anonymous, or a bad token
  denied,
  bad_request,
  no_route,  // the endpoint does not have this call
  rate_limited,
  transient,  // worth asking again
  nonsense,   // not an answer of a Hub; worth asking again
};

// The endpoint knows who asks, and does not let him see the repository.
constexpr bool is_turned_down(Verdict verdict) {
  return verdict == Verdict::repo_missing || verdict == Verdict::needs_login ||
         verdict == Verdict::denied;
}

Verdict judge(int status, const Headers& headers);

// The error for a verdict that is not ok; `what` was asked for.
Error refusal(Verdict verdict, int status, const Headers& headers, std::string_view what);

}  // namespace hffs::hub
