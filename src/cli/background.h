// SPDX-License-Identifier: Apache-2.0
//
// The way into the background: the parent stays until the child says how it went. Threads: before
// any other thread exists.
#pragma once

#include <optional>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::cli {

// In the child: tells the parent. Without a call the parent takes the child's death for failure.
class Parent {
 public:
  explicit Parent(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  void tell(const Result<void>& how);

 private:
  UniqueFd pipe_;
};

struct Forked {
  std::optional<Parent> parent;  // in the child only
  Result<void> outcome;          // in the parent only: what the child told
};

// Forks. The child has a session of its own, and nothing of the terminal.
Result<Forked> go_background();

}  // namespace hffs::cli
