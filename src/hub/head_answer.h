// SPDX-License-Identifier: Apache-2.0
//
// What the HEAD of a file tells about it: for endpoints without paths-info. Pure.
#pragma once

#include <optional>
#include <string>

#include "hffs/hub.h"
#include "metadata_call.h"

namespace hffs::hub {

// Nothing: the commit has no such file, for all time. not_found: it seems so, but nothing proves it. The first value that a hop of the Hub gives counts;
// Content-Length only where it does not measure the body of a redirect.
Result<std::optional<TreeEntry>> read_head(const Answer& answer, const CommitId& commit,
                                           const std::string& path);

}  // namespace hffs::hub
