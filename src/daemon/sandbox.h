// SPDX-License-Identifier: Apache-2.0
//
// What the worker may do once it is about to touch bytes from outside: write below the store alone, and read, of what its
// user may, the places that are listed. It can start no program, mount nothing, trace nobody and become nobody else; it has
// no capability. A rule is about what stood at a path when it was made: a folder that is mounted later, or again, is
// behind none (shut_out() knows, and Successor acts), and the next worker's rules are about what is there then.
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
  std::vector<std::string> writable;  // directories and files, read as well; what is missing is left out
  // Read, besides what names, certificates and processes are looked up in (sandbox.cpp). Of the second each may hang:
  // what does not answer in a moment is left out.
  std::vector<std::string> local, readable;
};
// What of it this kernel lacks, in words; "": nothing. In a process of one thread.
Result<std::string> enter_sandbox(const Sandbox& sandbox);

// Whether rules alone keep this process from reading a file or a directory: its user may. Blocks as long as its file system does.
bool shut_out(const std::string& path);

}  // namespace hffs
