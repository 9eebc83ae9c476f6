// SPDX-License-Identifier: Apache-2.0
//
// Tokens, and which goes with what; and the proxy, whose address may hold a password. Threads: Secret is a value; Credentials says its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "hffs/ids.h"

namespace hffs {

// A token. It cannot be formatted, compared in a log or printed; only the HTTP layer reveals it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  bool empty() const { return value_.empty(); }
  const std::string& reveal() const { return value_; }

 private:
  std::string value_;
};

// What requests go through, where the administrator says so and not the usual variables (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).
struct ProxyChoice {  // nothing: what the variables say
  std::optional<Secret> address;      // for all requests; it may hold a password; empty: none
  std::optional<std::string> exempt;  // as NO_PROXY
};
// A proxy's address as it may be shown: without its user and password.
std::string without_user(std::string_view proxy);

// Which token goes along with what is asked of a repository, where it is not the service's own.
// Threads: any. Never blocks.
class Credentials {
 public:
  virtual ~Credentials() = default;
  // Of somebody who has just been seen to have the right; empty: the service's own.
  virtual Secret choose(const RepoId& repo) = 0;
  // An endpoint turned it down for this repository. True: choose() gives another one now.
  virtual bool note_refused(const RepoId& repo, const Secret& token) = 0;
};

}  // namespace hffs
