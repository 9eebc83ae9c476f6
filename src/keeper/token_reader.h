// SPDX-License-Identifier: Apache-2.0
//
// The process that looks for a user's token with that user's rights: what a user may not read, nor he through us. It
// gives itself few seconds; the keeper reaps it, and waits for no home.
// Threads: of a process that has no other; does not block.
// Source: huggingface_hub 2.4.0 constants.py and utils/_auth.py: HF_TOKEN, HF_TOKEN_PATH, HF_HOME/token,
// XDG_CACHE_HOME/huggingface/token, ~/.cache/huggingface/token.
#pragma once

#include <sys/types.h>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::keeper {

// As Keeper::read_token().
Result<UniqueFd> read_token(uid_t user, pid_t process);

}  // namespace hffs::keeper
