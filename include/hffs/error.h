// SPDX-License-Identifier: Apache-2.0
//
// Errors as values. Every failure in hffs is an Error{code, message}; Result<T> carries it.
//
// No hffs function throws. The standard library and third-party libraries may, so the two nets are
// the C callbacks and the thread entry points, which catch everything.
//
// An error is logged once, where it becomes an errno; below that it is only given context with
// during(). Threads: plain value types, any thread. Nothing here blocks.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace hffs {

enum class Code : std::uint8_t {
  not_found,     // the name does not exist, or does not exist for this caller
  denied,        // the caller may not (gated, forbidden, refused by policy)
  needs_login,   // credentials are missing or bad
  offline,       // not resident, and the daemon is told not to use the network
  unreachable,   // the endpoint cannot be reached or answers nonsense; worth a retry
  timed_out,     // a deadline passed; worth a retry
  rate_limited,  // the endpoint asked us to wait; see Error::retry_after
  corrupt,       // bytes or records do not match what they must be
  no_space,      // the disk or a limit is full
  io,            // the local disk failed
  busy,          // somebody else holds it (a lock, a mount point)
  exists,        // the name is taken
  refused,       // this operation is not possible on this name, by design (EPERM)
  invalid,       // bad input: a flag, a config key, a malformed name
  unsupported,   // not available here (kernel, library, format version)
  stale,         // the node is an old incarnation; look the name up again
  cancelled,     // the waiter was interrupted
  not_directory,
  is_directory,
  not_empty,
  over_quota,  // one user's share is used up; others have theirs
  bug,  // an internal promise was broken
};
inline constexpr int kCodeCount = static_cast<int>(Code::bug) + 1;

// What a code means to the outside. `exit_code` is the process exit status of the command line:
// documented in docs/SEMANTICS.md, never reused.
struct CodeInfo {
  std::string_view name;
  int errno_value;
  int exit_code;
  bool retry_helps;
  std::string_view remedy;  // what its reader, or the admin, can do; empty: nothing in general
};
const CodeInfo& info(Code code);

struct Error {
  Code code = Code::bug;
  std::string message;
  // The peer's request to wait, if it made one; zero otherwise.
  std::chrono::milliseconds retry_after{0};

  // The same error with what was being done in front: "reading block 7 of …: <message>".
  [[nodiscard]] Error during(std::string_view action) && {
    message = fmt::format("{}: {}", action, message);
    return std::move(*this);
  }
};

template <class T>
using Result = std::expected<T, Error>;

// The one shape of asynchrony: called exactly once, never while a lock is held.
template <class T>
using Done = std::move_only_function<void(Result<T>)>;

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(Code code, fmt::format_string<Args...> text,
                                          Args&&... args) {
  return std::unexpected(Error{code, fmt::format(text, std::forward<Args>(args)...), {}});
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}
// Passes a failed result on as another type: `if (!x) return fail(x);`.
template <class T>
[[nodiscard]] std::unexpected<Error> fail(Result<T>& failed) {
  return std::unexpected(std::move(failed.error()));
}
template <class T>
[[nodiscard]] std::unexpected<Error> fail(Result<T>&& failed) {
  return std::unexpected(std::move(failed.error()));
}

// An Error from errno (pass errno explicitly): ENOSPC/EDQUOT → no_space, ENOENT → not_found,
// EACCES/EPERM → denied, EEXIST → exists; what network file systems say of their server (ETIMEDOUT,
// ESTALE, ENOTCONN, …) → timed_out or unreachable; others → io. The message ends with strerror.
[[nodiscard]] Error system_error(int errno_value, std::string_view action);

}  // namespace hffs
