// SPDX-License-Identifier: Apache-2.0
//
// DownloadWatch: `hf download REPO` in a mount returns at once, for every file is there; its user meant the bytes. So
// whoever runs it, and comes to the repository by that, has it prefetched. What it says was read in huggingface_hub's
// commands/download.py (0.36) and cli/download.py (2.4), and huggingface-cli before them.
//
// Threads: entered() on any; it looks at /proc, once for a process and a repository, and blocks on nothing else.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hffs/access.h"
#include "hffs/guarded.h"
#include "hffs/ids.h"

namespace hffs {

struct DownloadCommand {
  RepoId repo;
  std::string revision = "main";
  std::vector<std::string> include, exclude;
};
// Nothing: these are not the words of `hf download`, or it does not fill the cache (--local-dir, --dry-run).
std::optional<DownloadCommand> parse_download(const std::vector<std::string>& words);

class DownloadWatch {
 public:
  using Start = std::function<void(const Caller& caller, const DownloadCommand& command)>;
  explicit DownloadWatch(Start start) : start_(std::move(start)) {}
  // Somebody has looked up a repository.
  void entered(const Caller& caller, const RepoId& repo);

 private:
  const Start start_;
  // Threads and repositories that were looked at; of the last many.
  Guarded<std::set<std::pair<pid_t, std::string>>> seen_;
};

}  // namespace hffs
