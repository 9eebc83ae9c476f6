// SPDX-License-Identifier: Apache-2.0
//
// Adoption: the caches that users of a server have each filled become views of one mount. Each
// repository's folder is imported, and then exchanged, in one step of the file system, for a symbolic
// link into the mount; the original stays beside it (".hffs-original.models--ORG--NAME") until finish()
// or undo(). A folder is adopted as a whole or left as it is. What is promised: docs/SEMANTICS.md,
// "Adoption".
//
// Users may change their folders at any time, and be hostile to whoever runs this (root): names are
// followed once, and what is done then is done to the directory that was opened, which must be theirs.
//
// A journal is written before each step, so that a run that was killed is taken to an end by the next.
//
// Threads: one; all calls block. Needs root where the caches are others'.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hffs/error.h"

namespace hffs {

struct UserCache {
  std::string path;  // a hub folder: models--ORG--NAME and its kin lie in it
  uid_t user = 0;    // who owns it
};

// Those that `given` names (a cache, a HF_HOME, or a home); else, of everybody in the password database
// and below `home_root` (may be empty), ~/.cache/huggingface/hub. Those that there are, each once.
Result<std::vector<UserCache>> find_caches(const std::vector<std::string>& given,
                                           const std::string& home_root);

// One repository's folder, and what it is about.
struct AdoptFolder {
  std::string path;
  uid_t user = 0;
  std::uint64_t bytes = 0;      // that its blobs take
  std::uint64_t duplicate = 0;  // of these, in blobs that a folder before it has, too
  bool done = false;            // what was asked for was done
  std::string note;             // why not; or what is to be known
};
struct AdoptReport {
  std::vector<AdoptFolder> folders;
};

// The daemon's part: what its mount shows, and the import.
struct AdoptMount {
  std::string mount_point;
  struct Imported {
    std::string problem;  // not empty: something was not taken, so the folder must stay
    std::string remark;
  };
  // Imports the folder, which must be this directory (st_dev, st_ino). `confirmed_only`: what the Hub
  // does not list is a problem, and is not shown to anybody.
  std::function<Result<Imported>(const std::string& path, dev_t device, ino_t inode,
                                 bool confirmed_only)>
      import;
  // Whether the store has these files of a commit, whole and verified, and the Hub lists it: what the
  // store evicts can be fetched again then.
  std::function<Result<void>(const std::string& layout_name, const std::string& commit,
                             const std::vector<std::string>& paths)>
      check_whole;
};

class Adoption {
 public:
  // Takes the journal (made if need be), and takes to an end what was begun and not ended. Code::busy:
  // another adoption is under way.
  static Result<std::unique_ptr<Adoption>> open(const std::string& journal);
  virtual ~Adoption() = default;

  using Tell = std::function<void(const AdoptFolder&)>;  // of each, as soon as it is known
  // What lies in the caches; nothing is changed.
  virtual AdoptReport survey(const std::vector<UserCache>& caches) = 0;
  virtual Result<AdoptReport> adopt(const std::vector<UserCache>& caches, const AdoptMount& mount,
                                    bool self_attested, const Tell& tell) = 0;
  // Of what was adopted in these directories (all: empty), or of one of its folders.
  virtual Result<AdoptReport> undo(const std::vector<std::string>& below, const Tell& tell) = 0;
  // Removes the originals, but those whose commits the Hub has not confirmed, or whose bytes the store
  // has not whole.
  virtual Result<AdoptReport> finish(const std::vector<std::string>& below, const AdoptMount& mount,
                                     const Tell& tell) = 0;
};

}  // namespace hffs
