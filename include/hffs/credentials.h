// SPDX-License-Identifier: Apache-2.0
//
// Tokens, and which goes with what. Threads: Secret is a value; Credentials says its own.
#pragma once

#include <string>
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
