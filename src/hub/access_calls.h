// SPDX-License-Identifier: Apache-2.0
//
// Questions about a token: what it may read, and whose it is. Network thread only; nothing blocks.
// Sources: huggingface_hub 2.4.0 hf_api.py (auth_check, whoami); docs/HUB_PROTOCOL.md.
#pragma once

#include "session.h"

namespace hffs::hub {

// As Origin::check_access().
void ask_access(Session& session, const RepoId& repo, Secret token, Instant deadline,
                Done<void> done);
// As Origin::ask_name().
void ask_name(Session& session, Secret token, Instant deadline, Done<std::string> done);

}  // namespace hffs::hub
