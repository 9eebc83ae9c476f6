// SPDX-License-Identifier: Apache-2.0
//
// When a worker wants to be replaced: what it may read was mounted, or written anew, behind the rules that this process
// has entered (sandbox.h), and those of a successor know it.
//
// Threads: any; blocks as long as the file system of what is looked at does.
#pragma once

#include <string>

#include "hffs/clock.h"
#include "hffs/guarded.h"
#include "hffs/keeper.h"

namespace hffs {

class Successor {
 public:
  Successor(Keeper& keeper, const Clock& clock) : keeper_(keeper), clock_(clock), next_(clock.now() + kPause) {}
  // A file or a directory that should be readable.
  void look_at(const std::string& path);

 private:
  // The keeper has the last word.
  static constexpr std::chrono::seconds kPause{2};

  Keeper& keeper_;
  const Clock& clock_;
  Guarded<Instant> next_;
};

}  // namespace hffs
