// SPDX-License-Identifier: Apache-2.0
//
// Daemon: builds the parts in the order of their arrows, mounts, serves, and takes them down in
// reverse. start() gives a mounted, answering daemon or nothing at all; stop leaves no mount and no
// thread. Threads: main thread only; start(), run() and the destructor block.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/telemetry.h"

namespace hffs {

// Every setting, with its default. Precedence: flag over environment over file over default.
struct Config {
  std::string mount_point;
  std::string state_dir;               // /var/lib/hffs for root, $XDG_CACHE_HOME/hffs else
  std::vector<std::string> endpoints;  // HF_ENDPOINT, else https://huggingface.co
  std::string token;                   // HF_TOKEN, else the file HF_TOKEN_PATH, else none
  std::string ca_bundle;
  bool allow_other = false;
  bool offline = false;  // HF_HUB_OFFLINE
  bool offline_partial = false;
  bool foreground = false;
  Level log_level = Level::info;
  std::string log_file;  // empty: standard error in the foreground, STATE/hffs-v1/hffs.log else
  std::chrono::milliseconds ref_ttl{60'000};
  std::chrono::milliseconds read_deadline{15 * 60 * 1'000};
  std::chrono::milliseconds sync_interval{2'000};
};

class Daemon {
 public:
  static Result<std::unique_ptr<Daemon>> start(Config config);
  virtual ~Daemon() = default;
  // Serves until the file system is unmounted or `hffs umount`, SIGTERM or SIGINT asks for the end.
  virtual Result<void> run() = 0;
};

}  // namespace hffs
