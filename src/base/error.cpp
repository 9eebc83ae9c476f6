// SPDX-License-Identifier: Apache-2.0
#include "hffs/error.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace hffs {
namespace {

// Exit codes are a promise to scripts: documented in docs/SEMANTICS.md, never reused.
constexpr std::array<CodeInfo, kCodeCount> kCodes{{
    {"not_found", ENOENT, 3, false, ""},
    {"denied", EACCES, 4, false,
     "ask for access on its page of the Hub, and give the mount your token: hffs login"},
    {"needs_login", EACCES, 5, false, "give the mount a token that the Hub accepts: hffs login"},
    {"offline", EIO, 6, false, "mount without --offline, or bring it here: hffs import"},
    {"unreachable", EIO, 7, true, "hffs status says which endpoint is down, hffs doctor why"},
    {"timed_out", EIO, 8, true, "hffs status says which endpoint is slow or down, hffs doctor why"},
    {"rate_limited", EIO, 9, true, "wait; with a token the Hub allows more: hffs login"},
    {"corrupt", EIO, 10, false, "read it again, it is fetched anew; if it stays so, name another endpoint"},
    {"no_space", ENOSPC, 11, false, "make room: hffs gc, or a larger --max-size"},
    {"io", EIO, 12, false, "look at the disk of the state directory: dmesg"},
    {"busy", EBUSY, 13, false, "try again"},
    {"exists", EEXIST, 14, false, ""},
    {"refused", EPERM, 15, false, ""},
    {"invalid", EINVAL, 2, false, ""},
    {"unsupported", EOPNOTSUPP, 16, false, ""},
    {"stale", ESTALE, 17, false, ""},
    {"cancelled", EINTR, 18, false, ""},
    {"not_directory", ENOTDIR, 19, false, ""},
    {"is_directory", EISDIR, 20, false, ""},
    {"not_empty", ENOTEMPTY, 21, false, ""},
    // Worth a retry by who has a share left.
    {"over_quota", EDQUOT, 22, true, "wait, or ask the admin; hffs status shows the limits"},
    {"bug", EIO, 70, false, "please report this, with the log"},
}};

Code code_of_errno(int value) {
  switch (value) {
    case ENOENT: return Code::not_found;
    case EACCES:
    case EPERM: return Code::denied;
    case ENOSPC:
    case EDQUOT: return Code::no_space;
    case EEXIST: return Code::exists;
    case EBUSY: return Code::busy;
    case ENOTDIR: return Code::not_directory;
    case EISDIR: return Code::is_directory;
    case ENOTEMPTY: return Code::not_empty;
    // What a network file system says of its server.
    case ETIMEDOUT: return Code::timed_out;
    case ESTALE:
    case ENOTCONN:
    case ECONNABORTED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH: return Code::unreachable;
    default: return Code::io;
  }
}

}  // namespace

const CodeInfo& info(Code code) { return kCodes[static_cast<std::size_t>(code)]; }

Error system_error(int errno_value, std::string_view action) {
  std::array<char, 128> text{};
  return {code_of_errno(errno_value),
          fmt::format("{}: {}", action, ::strerror_r(errno_value, text.data(), text.size())),
          {}};
}

}  // namespace hffs
