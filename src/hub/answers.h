// SPDX-License-Identifier: Apache-2.0
//
// The Hub's JSON as our types. Untrusted text: bounded in depth and number of values, and every
// name in it is checked. What is no answer at all is Code::unreachable (a captive portal, a broken
// mirror: worth asking again); one entry that no file system can hold is left out with a log line.
// Pure but for the log.
#pragma once

#include <string_view>
#include <vector>

#include "hffs/hub.h"

namespace hffs::hub {

Result<RepoInfo> parse_repo_info(const RepoId& asked, std::string_view body);
// The answer of tree and of paths-info.
Result<std::vector<TreeEntry>> parse_entries(const RepoId& repo, std::string_view body);
Result<std::string> parse_user_name(std::string_view body);
Result<RefList> parse_refs(const RepoId& repo, std::string_view body);

// "2024-03-01T10:20:30.000Z"; the epoch where it cannot be read.
WallTime parse_time(std::string_view text);

}  // namespace hffs::hub
