// SPDX-License-Identifier: Apache-2.0
//
// What the worker may do once it is about to touch bytes from outside: read what its user may, and write below the store
// alone. It can start no program, mount nothing, trace nobody and become nobody else; it has no capability.
//
// Threads: the caller's; those that it starts later inherit all of it, and others keep what they had.
//
// Source: Linux include/uapi/linux/{landlock,seccomp,capability}.h, Documentation/userspace-api/landlock.rst.
#pragma once

#include <string>
#include <vector>

#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs {

struct Sandbox {
  WorkerUser user;  // whom this process becomes; its own, or root's choice
  std::vector<std::string> writable;  // directories and files; what is missing is left out
};
// What of it this kernel lacks, in words; "": nothing.
Result<std::string> enter_sandbox(const Sandbox& sandbox);

}  // namespace hffs
