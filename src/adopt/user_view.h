// SPDX-License-Identifier: Apache-2.0
//
// What a user sees, looked at with that user's rights by a short-lived child. Threads: one, and no other
// may run (it forks); blocks for as long as the mount takes, at most a minute.
#pragma once

#include <string>
#include <vector>

#include "hffs/error.h"
#include "repo_folder.h"

namespace hffs::adopt {

// Whether each file is below `repository`, a repository's folder in a mount, with its size.
Result<void> check_view(uid_t user, const std::string& repository,
                        const std::vector<RepoFolder::File>& files);

}  // namespace hffs::adopt
