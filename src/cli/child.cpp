// SPDX-License-Identifier: Apache-2.0
#include "child.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace hffs::cli {
namespace {

// What shells say of a command that cannot be run, and add to the signal that ended one.
constexpr int kCannotRun = 126, kNotFound = 127, kSignal = 128;

[[noreturn]] void become(const std::vector<std::string>& command, const sigset_t& mask) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(words[0], words.data());
  const int code = errno == ENOENT ? kNotFound : kCannotRun;
  fmt::print(stderr, "hffs: {}: {}\n", command.front(), std::strerror(errno));
  ::_exit(code);
}

// Waits for a child's end, or for as long as is meant.
void wait_for_news(const sigset_t& news, const Meanwhile& meanwhile) {
  if (!meanwhile.look) {
    (void)::sigwaitinfo(&news, nullptr);
    return;
  }
  const timespec pause{.tv_sec = meanwhile.pause.count() / 1'000, .tv_nsec = meanwhile.pause.count() % 1'000 * 1'000'000};
  (void)::sigtimedwait(&news, nullptr, &pause);
}

}  // namespace

Result<void> become_reaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0) return {};
  return fail(system_error(errno, "becoming the reaper of the command's descendants"));
}

Result<int> run_child(const std::vector<std::string>& command, const Meanwhile& meanwhile) {
  // What a shell sends to all of its foreground job is the command's business: we tell of its end.
  for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t news, before;
  ::sigemptyset(&news);
  ::sigaddset(&news, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &news, &before);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting the command"));
  if (child == 0) become(command, before);
  while (true) {
    int status = 0;
    // Descendants whose parents have gone end here, too.
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended == child) return WIFSIGNALED(status) ? kSignal + WTERMSIG(status) : WEXITSTATUS(status);
    if (ended < 0 && errno != EINTR) return fail(system_error(errno, "waiting for the command"));
    if (ended != 0) continue;
    wait_for_news(news, meanwhile);
    if (meanwhile.look) meanwhile.look(child);
  }
}

}  // namespace hffs::cli
