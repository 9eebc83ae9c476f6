// SPDX-License-Identifier: Apache-2.0
//
// Who has a file of a folder open, mapped, or as its working directory, as /proc tells: of all processes
// that we may look at. Threads: any; blocks on /proc.
#pragma once

#include <optional>
#include <string>

#include "repo_folder.h"

namespace hffs::adopt {

// "process 123 (python)"; nothing: nobody.
std::optional<std::string> find_user_of(const RepoFolder& folder, const std::vector<Item>& items);

}  // namespace hffs::adopt
