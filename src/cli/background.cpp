// SPDX-License-Identifier: Apache-2.0
#include "background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace hffs::cli {
namespace {

std::string read_all(int fd) {
  std::string text;
  std::array<char, 1'024> piece;
  while (true) {
    const ssize_t count = ::read(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
}

// One byte of Code (or kReady), then the message.
constexpr char kReady = '\x7f';

Result<void> to_outcome(const std::string& told, pid_t child) {
  if (!told.empty() && told.front() == kReady) return {};
  int status = 0;
  (void)!::waitpid(child, &status, 0);
  if (told.empty())
    return fail(Code::bug, "the daemon ended while it started ({} {}); its log may say why",
                WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return fail(Error{static_cast<Code>(told.front()), told.substr(1), {}});
}

void leave_terminal() {
  ::setsid();
  (void)!::chdir("/");
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), fd);
}

}  // namespace

void Parent::tell(const Result<void>& how) {
  std::string text(1, how ? kReady : static_cast<char>(how.error().code));
  if (!how) text += how.error().message;
  (void)!::write(pipe_.get(), text.data(), text.size());
  pipe_.reset();
}

Result<Forked> go_background() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error(errno, "making a pipe"));
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting the daemon"));
  if (child > 0) {
    writing.reset();
    return Forked{.parent = std::nullopt, .outcome = to_outcome(read_all(reading.get()), child)};
  }
  // The parent may have gone; that is no reason to die.
  ::signal(SIGPIPE, SIG_IGN);
  leave_terminal();
  return Forked{.parent = Parent(std::move(writing)), .outcome = {}};
}

}  // namespace hffs::cli
