// SPDX-License-Identifier: Apache-2.0
//
// Whether the answer to a range GET may be believed: decided from its status and headers alone,
// before a byte of it is used. Pure. The checks, in order, are those of docs/HUB_PROTOCOL.md.
#pragma once

#include "headers.h"
#include "hffs/hub.h"
#include "verdict.h"

namespace hffs::hub {

struct ContentAnswer {
  int status = 0;
  Headers headers;
  bool at_home = false;      // it came from the endpoint itself, not from a store of bytes
  bool commit_seen = false;  // a hop before this one named the commit: we speak with a Hub
};

struct ContentVerdict {
  enum class Kind : std::uint8_t {
    accept,  // `delivered` comes
    redirect,
    expired,      // the store refuses the address: a new one is needed
    contradicts,  // it is not what the commit has: ask once more, then corrupt
    refused,      // `error`
  };
  Kind kind = Kind::refused;
  ByteRange delivered;
  Error error;
};

ContentVerdict check_content(const FileSource& file, ByteRange asked, const ContentAnswer& answer);

// Whether what the endpoint says of the file (X-Repo-Commit, X-Linked-*, ETag) is what the tree
// said.
Result<void> check_pins(const FileSource& file, int status, const Headers& headers);

}  // namespace hffs::hub
