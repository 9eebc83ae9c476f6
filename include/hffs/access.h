// SPDX-License-Identifier: Apache-2.0
//
// AccessControl: may this caller see this repository? Answers allow, deny, or later; a denial for
// one caller is never remembered for another. Threads: any. decide() never blocks; a question that
// needs the Hub completes later, on the network thread.
//
// Today the daemon fetches public content with its own credentials, and everybody who can reach the
// mount may see what it can see: everybody passes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "hffs/error.h"
#include "hffs/ids.h"

namespace hffs {

// Who asks: taken from the FUSE request, never from what the caller says.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  // The kernel's number of the request, which is the same when it is asked again; 0: not a request of the
  // kernel's.
  std::uint64_t request = 0;
};

// The caller may see the repository.
struct Pass {
  // For so long nobody needs to be asked about, whoever it is: the repository is public. 0: the next
  // caller may get another answer.
  std::chrono::milliseconds for_everybody{0};
};

class AccessControl {
 public:
  virtual ~AccessControl() = default;
  // not_found: for this caller the repository does not exist. denied: it exists, and the caller may
  // not read it (gated).
  virtual void decide(const Caller& caller, const RepoId& repo, Done<Pass> done) = 0;
};

std::unique_ptr<AccessControl> allow_everybody();

}  // namespace hffs
