// SPDX-License-Identifier: Apache-2.0
//
// A repository, and a revision of it, as people write them:
//   ORG/NAME, datasets/ORG/NAME, spaces/ORG/NAME; each with @REVISION
//   https://HOST/ORG/NAME, and below it /tree/REV, /blob/REV/FILE and /resolve/REV/FILE, as the Hub's pages have it;
//   hf://ORG/NAME@REV
//   a path in a mount or a cache: …/models--ORG--NAME, and below it /snapshots/REV or /refs/REV; one that
//   begins like REPO@REVISION is written ./PATH
// Threads: pure functions.
#pragma once

#include <string>

#include "hffs/error.h"
#include "hffs/ids.h"

namespace hffs::cli {

struct RepoAt {
  RepoId repo;
  std::string revision = "main";
  bool names_revision = false;
  std::string text() const;  // REPO, and @REVISION if it names one
};
Result<RepoAt> parse_repo_at(const std::string& text);
// … of which all revisions are meant.
Result<RepoId> parse_repo(const std::string& text);

}  // namespace hffs::cli
