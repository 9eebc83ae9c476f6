// SPDX-License-Identifier: Apache-2.0
//
// Every command of the program, in the order of its help; each has its options, its help and what it does in the file of
// its name. And what more than one of them needs. Threads: main only.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "ask.h"
#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs::cli {

class CommandTable;

void add_mount(CommandTable& table);
void add_umount(CommandTable& table);
void add_status(CommandTable& table);
void add_top(CommandTable& table);
void add_explain(CommandTable& table);
void add_path(CommandTable& table);
void add_prefetch(CommandTable& table);
void add_ls(CommandTable& table);
void add_storage(CommandTable& table);  // gc, pin, unpin, pins
void add_verify(CommandTable& table);
void add_import(CommandTable& table);
void add_export(CommandTable& table);
void add_lock(CommandTable& table);
void add_check(CommandTable& table);
void add_adopt(CommandTable& table);
void add_login(CommandTable& table);  // login, logout
void add_config(CommandTable& table);
void add_env(CommandTable& table);
void add_run(CommandTable& table);
void add_doctor(CommandTable& table);
void add_completion(CommandTable& table);      // completion
void add_for_completion(CommandTable& table);  // commands, complete-repos: for scripts

struct PathArguments {
  std::string repo;         // "REPO" or "REPO@REVISION"
  std::string mount_point;  // empty: where the daemon of the state directory has mounted
  Flags flags;
};
// The directory of a repository's files in a mount.
Result<std::string> find_snapshot(const PathArguments& arguments);

// One of the findings of verify, for people.
void print_finding(const nlohmann::json& finding);

// The socket of the daemon that serves a mount point, from the link in its root.
Result<std::string> load_control_link(const std::string& mount_point);

}  // namespace hffs::cli
