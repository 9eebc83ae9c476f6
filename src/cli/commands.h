// SPDX-License-Identifier: Apache-2.0
//
// The commands of the program. Each blocks until it is done, prints its answer on standard output,
// and gives back what went wrong. Threads: main only.
#pragma once

#include <string>
#include <vector>

#include "ask.h"
#include "hffs/daemon.h"
#include "hffs/error.h"
#include "hffs/ids.h"

namespace hffs::cli {

struct ConfigArguments {
  bool json = false;
  Flags flags;  // config_file: which one
};
struct UmountArguments {
  std::string mount_point;
  bool lazy = false;
};
struct StatusArguments {
  std::string mount_point;  // empty: the daemon of the state directory
  bool json = false;
  Flags flags;
};
struct PathArguments {
  std::string repo;         // "REPO" or "REPO@REVISION"
  std::string mount_point;  // empty: where the daemon of the state directory has mounted
  Flags flags;
};

struct ImportArguments {
  std::string path;
  std::string repo;      // of a plain folder
  std::string revision;  // of a plain folder; empty: main
  bool json = false;
  Flags flags;
};
struct ExportArguments {
  PathArguments what;
  std::string directory;
  bool flat = false;
  bool json = false;
  std::vector<std::string> include, exclude;
};
struct CollectArguments {
  std::string repo;  // empty: only what the limits demand
  bool unreferenced = false, imported = false, dry_run = false, json = false;
  DaemonName where;
};
struct PinArguments {
  std::string repo;  // "REPO" or "REPO@REVISION"
  std::string ref;   // not empty: what this ref reads is frozen
  bool all = false;  // … for everybody
  DaemonName where;
};
struct ListArguments {
  std::string repo;  // empty: all
  bool outdated = false, json = false;
  DaemonName where;
};
struct LockArguments {
  std::string output = "models.lock";
  std::vector<std::string> command;
  DaemonName where;
};
struct CheckArguments {
  std::string lock;
  bool fetch = false, offline = false, json = false;
  DaemonName where;
};
struct AdoptArguments {
  std::vector<std::string> directories;
  std::string home_root;
  bool dry_run = false, undo = false, finish = false, self_attested = false, json = false;
  Flags flags;
};
struct PinsArguments {
  bool json = false;
  DaemonName where;
};

struct VerifyArguments {
  std::string repo;  // "REPO" or "REPO@REVISION"; empty: all
  bool json = false;
  Flags flags;
};

Result<void> mount(const Flags& flags);
Result<void> check_config(const ConfigArguments& arguments);
Result<void> umount(const UmountArguments& arguments);
Result<void> status(const StatusArguments& arguments);
Result<void> path(const PathArguments& arguments);
Result<void> import_folder(const ImportArguments& arguments);
Result<void> export_repo(const ExportArguments& arguments);
Result<void> collect(const CollectArguments& arguments);
Result<void> pin(const PinArguments& arguments);
Result<void> unpin(const PinArguments& arguments);
Result<void> pins(const PinsArguments& arguments);
Result<void> list(const ListArguments& arguments);
// The exit code is the command's own.
Result<int> lock(const LockArguments& arguments);
Result<void> check(const CheckArguments& arguments);
Result<void> adopt(const AdoptArguments& arguments);
Result<void> verify(const VerifyArguments& arguments);
// One of its findings, for people.
void print_finding(const nlohmann::json& finding);

// "REPO" or "REPO@REVISION", as people write it.
struct RepoAt {
  RepoId repo;
  std::string revision;
};
Result<RepoAt> parse_repo_at(const std::string& text);
// The directory of a repository's files in a mount.
Result<std::string> find_snapshot(const PathArguments& arguments);

// The socket of the daemon that serves a mount point, from the link in its root.
Result<std::string> load_control_link(const std::string& mount_point);

}  // namespace hffs::cli
