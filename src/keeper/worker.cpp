// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace hffs::keeper {
namespace {

// Until those that were killed have ended. A disk may hold them up.
constexpr std::chrono::milliseconds kDying{60'000};
constexpr int kMoment = 10;  // ms

}  // namespace

// The own image is there even if the program's file is not.
Result<Worker> start_worker(const KeeperOptions& options, bool own_image) {
  auto ends = Channel::pair();
  if (!ends) return fail(ends);
  std::vector<std::string> words = options.worker;
  if (own_image) words[0] = "/proc/self/exe";
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error(errno, "starting the worker"));
  if (pid == 0) {
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // What it starts is of its group, and stays there: the sandbox refuses to leave it.
    ::setpgid(0, 0);
    // A terminal may stop those in the background who write to it.
    ::signal(SIGTTOU, SIG_IGN);
    if (options.directory) (void)!::fchdir(options.directory.get());
    if (options.inherited >= 0) ::fcntl(options.inherited, F_SETFD, 0);
    // dup2 onto itself would leave the flag that closes it.
    if (ends->second.get() == kWorkerSocket ? ::fcntl(kWorkerSocket, F_SETFD, 0) == 0
                                            : ::dup2(ends->second.get(), kWorkerSocket) >= 0)
      ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::setpgid(pid, pid);  // whoever of both comes first
  Worker worker{.pid = pid,
                .process = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
                .channel = std::move(ends->first),
                .heard = std::chrono::steady_clock::now(),
                .serving = {},
                .failure = {}};
  if (!worker.process) {
    const int reason = errno;
    ::kill(pid, SIGKILL);
    (void)!::waitpid(pid, nullptr, 0);
    return fail(system_error(reason, "watching the worker"));
  }
  return worker;
}

int end_worker(const Worker& worker, const std::function<void()>& stuck) {
  const auto until = std::chrono::steady_clock::now() + kDying;
  // To all of a group at once: nobody forks in between.
  ::kill(-worker.pid, SIGKILL);
  pollfd ended{worker.process.get(), POLLIN, 0};
  ::poll(&ended, 1, static_cast<int>(kDying.count()));
  int status = 0;
  for (bool told = false;;) {
    int its = 0;
    // Who has lost his parent is ours.
    const pid_t pid = ::waitpid(-worker.pid, &its, WNOHANG);
    if (pid < 0 && errno != EINTR) return status;
    if (pid == worker.pid) status = its;
    if (pid != 0) continue;
    if (!told && std::chrono::steady_clock::now() >= until) {
      told = true;
      stuck();
    }
    ::poll(nullptr, 0, kMoment);
  }
}

}  // namespace hffs::keeper
