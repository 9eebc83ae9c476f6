// SPDX-License-Identifier: Apache-2.0
//
// DownloadWatch: `hf download REPO` in a mount returns at once, for every file is there; its user meant the bytes. So
// whoever runs it, and comes to the repository by that, has it prefetched. How its versions take their words was read in
// huggingface_hub's commands/download.py (0.36) and cli/download.py (2.4). Where they differ more is brought rather than less.
//
// Threads: any. is_new() looks at the status of a process in /proc; find() reads its command line, for which a process may
// let us wait that waits for us: never on a thread that serves.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hffs/access.h"
#include "hffs/globs.h"
#include "hffs/guarded.h"
#include "hffs/ids.h"

namespace hffs {

struct DownloadCommand {
  static constexpr std::size_t kMostPatterns = 64;
  RepoId repo;
  std::string revision = "main";
  Globs files;
};
// Nothing: these are not the words of `hf download`, or it does not fill the cache (--local-dir, --dry-run).
std::optional<DownloadCommand> parse_download(const std::vector<std::string>& words);

class DownloadWatch {
 public:
  // Whether this process has come to this repository for the first time, as far as is known.
  bool is_new(const Caller& caller, const RepoId& repo);
  // What it downloads, if it does, of this repository.
  std::optional<DownloadCommand> find(const Caller& caller, const RepoId& repo) const;

 private:
  // Processes and repositories; of the last many.
  Guarded<std::set<std::pair<pid_t, std::string>>> seen_;
};

}  // namespace hffs
