// SPDX-License-Identifier: Apache-2.0
//
// When a worker wants to be replaced: a folder was mounted, or mounted again, behind the rules that this process has
// entered (sandbox.h), and those of a successor know it.
//
// Threads: any; blocks as long as the folder's file system does.
#pragma once

#include <string>

#include "hffs/clock.h"
#include "hffs/guarded.h"
#include "hffs/keeper.h"

namespace hffs {

class Successor {
 public:
  Successor(Keeper& keeper, const Clock& clock) : keeper_(keeper), clock_(clock), next_(clock.now() + kYouth) {}
  // Of a folder that could not be read.
  void look_at(const std::string& folder);

 private:
  // A successor that cannot serve is no reason to start one after the other.
  static constexpr std::chrono::seconds kYouth{2}, kPause{30};

  Keeper& keeper_;
  const Clock& clock_;
  Guarded<Instant> next_;
};

}  // namespace hffs
