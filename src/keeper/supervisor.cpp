// SPDX-License-Identifier: Apache-2.0
//
// The keeper's one loop: it serves the worker, and starts it again; or two, while a candidate looks
// whether it could serve. What workers say is looked at here and nowhere else.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "hffs/telemetry.h"
#include "mount_owner.h"
#include "token_reader.h"
#include "service_manager.h"
#include "worker.h"

namespace hffs {
namespace {

using keeper::kFine;
using keeper::Message;
using keeper::Say;
using keeper::start_worker;
using keeper::Worker;
using Time = std::chrono::steady_clock;

// Until a worker that was just started says its first word.
constexpr std::chrono::seconds kBirth{20};
// One that served for so long was no hasty end.
constexpr std::chrono::milliseconds kServed{1'000};
constexpr int kHastyEnds = 3;  // then the next one waits
constexpr std::chrono::milliseconds kFirstPause{500}, kLongestPause{30'000};
constexpr std::chrono::milliseconds kLongestWish{600'000};
constexpr std::chrono::milliseconds kOverslept{500};

std::string words_of(int status) {
  return WIFSIGNALED(status) ? fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
                             : fmt::format("status {}", WEXITSTATUS(status));
}

Message answer_of(const Result<std::int32_t>& result) {
  if (result) return {.say = Say::answer, .number = *result};
  return {.say = Say::answer, .code = static_cast<std::int32_t>(result.error().code), .text = result.error().message};
}
Message answer_of(const Result<void>& result) {
  return answer_of(result ? Result<std::int32_t>(0) : fail(Error(result.error())));
}

class Supervisor {
 public:
  explicit Supervisor(const KeeperOptions& options) : options_(options), service_(options.service) {}
  Result<void> run();

 private:
  Result<void> prepare();
  // Waits for what comes next, and does it.
  void watch();
  void look_at(std::optional<Worker>& worker, short said, short ended, bool late);
  void hear(std::optional<Worker>& worker);
  void answer(Worker& worker, const Message& message);
  void give_turn(std::optional<Worker>& worker);
  Time::time_point deadline(const Worker& worker) const;
  // Ends it if need be: its status.
  int reap(Worker& worker);
  void reap_others();
  void forget_backings(Worker& worker);
  void end_of(std::optional<Worker>& worker);
  void signalled();
  void replace(pid_t asked_by);
  void wish(pid_t worker);
  void pause(std::chrono::milliseconds time);
  // What went wrong goes to the log, and to the service manager, which also hears whether somebody serves.
  void complain(bool serves, const std::string& what);

  const KeeperOptions& options_;
  keeper::ServiceManager service_;
  UniqueFd signals_, handover_, device_;
  MountOwner owner_;
  std::optional<Worker> worker_, candidate_;
  Result<void> outcome_;
  bool ending_ = false, unmounted_ = false, done_ = false, ready_ = false;
  bool own_image_ = false;  // the program as it is now refuses the session
  int hasty_ = 0;
  std::chrono::milliseconds wait_ = kFirstPause, wish_pause_ = kServed;
  Time::time_point next_wish_;  // of a worker to be replaced
};

Result<void> Supervisor::prepare() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t ours;
  ::sigemptyset(&ours);
  // A terminal that is closed must not leave a dead mount behind either.
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) ::sigaddset(&ours, number);
  ::sigprocmask(SIG_BLOCK, &ours, nullptr);
  signals_ = UniqueFd(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail(system_error(errno, "making an event descriptor"));
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return fail(system_error(errno, "becoming the reaper of what workers start"));
  auto memory = Handover::create();
  if (!memory) return fail(memory);
  handover_ = std::move(*memory);
  return {};
}

Time::time_point Supervisor::deadline(const Worker& worker) const {
  return worker.heard + (worker.spoke ? std::chrono::milliseconds(options_.patience) : kBirth);
}

void Supervisor::watch() {
  pollfd watched[] = {{signals_.get(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
  auto until = Time::now() + kBirth;
  int next = 1;
  for (const auto* each : {&worker_, &candidate_}) {
    if (*each) {
      watched[next].fd = (*each)->channel ? (*each)->channel->fd() : -1;
      watched[next + 1].fd = (*each)->process.get();
      until = std::min(until, deadline(**each));
    }
    next += 2;
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Time::now());
  const int found = ::poll(watched, std::size(watched), static_cast<int>(std::max<std::int64_t>(0, left.count() + 1)));
  reap_others();
  if (found < 0) return;
  if (watched[0].revents != 0) return signalled();
  const auto now = Time::now();
  // Who slept ourselves cannot know.
  if (found == 0 && now - until > kOverslept) {
    for (auto* each : {&worker_, &candidate_})
      if (*each) (*each)->heard = now;
    return;
  }
  // The candidate first: it may be about to take the other's place.
  const bool had_candidate = candidate_.has_value();
  if (candidate_) look_at(candidate_, watched[3].revents, watched[4].revents, found == 0 && now >= deadline(*candidate_));
  if (had_candidate == candidate_.has_value() && worker_)
    look_at(worker_, watched[1].revents, watched[2].revents, found == 0 && now >= deadline(*worker_));
}

void Supervisor::look_at(std::optional<Worker>& worker, short said, short ended, bool late) {
  // What it said last is still to be heard.
  if (said != 0) return hear(worker);
  if (late)
    log(Level::error, "keeper", "the worker {} has not been heard of for {:.1f} s, and is replaced", worker->pid,
        std::chrono::duration<double>(Time::now() - worker->heard).count());
  if (late || ended != 0) end_of(worker);
}

void Supervisor::hear(std::optional<Worker>& worker) {
  auto message = worker->channel->receive(nullptr);
  if (!message) {
    worker->channel.reset();
    return;
  }
  worker->heard = Time::now();
  worker->spoke = true;
  switch (message->say) {
    case Say::ready:
      worker->serving = Time::now();
      if (!ending_ && !unmounted_)
        service_.ready(fmt::format("serving {}, worker {}", options_.mount.mount_point, worker->pid));
      if (!std::exchange(ready_, true)) options_.ready();
      return;
    case Say::failed:
      worker->failure = Error{static_cast<Code>(std::clamp(message->code, 0, kCodeCount - 1)),
                              message->text.empty() ? "it gave no reason" : std::move(message->text), {}};
      return;
    case Say::take_turn:
      return give_turn(worker);
    case Say::close_backing:
      if (&worker == &worker_) owner_.close_backing(message->number);
      return;
    case Say::abort:
      if (&worker == &worker_ && unmounted_) owner_.abort();
      return;
    case Say::replace:
      if (&worker == &worker_) wish(worker->pid);
      return;
    case Say::alive:
    case Say::answer:
      return;
    default:
      return answer(*worker, *message);
  }
}

// Nobody may find the other one at work: it is killed, and waited for.
void Supervisor::give_turn(std::optional<Worker>& worker) {
  if (&worker == &candidate_) {
    if (ending_ || unmounted_) {
      (void)worker->channel->send(answer_of(Result<void>(fail(Code::cancelled, "the mount is being ended"))));
      return;
    }
    if (worker_) {
      log(Level::info, "keeper", "the worker {} is replaced by the worker {}", worker_->pid, candidate_->pid);
      reap(*worker_);
      forget_backings(*worker_);
    }
    worker_ = std::exchange(candidate_, std::nullopt);
  }
  if (auto sent = worker_->channel->send({.say = Say::answer}); !sent) worker_->channel.reset();
}

void Supervisor::answer(Worker& worker, const Message& message) {
  Message reply;
  std::vector<int> descriptors;
  UniqueFd pipe;
  const bool candidate = candidate_ && &worker == &*candidate_;
  if (message.say == Say::handover) {
    descriptors = {handover_.get()};
    reply = {.say = Say::answer};
  } else if (message.say == Say::may_back) {
    reply = answer_of(MountOwner::may_back());
  } else if (candidate) {
    reply = answer_of(Result<void>(fail(Code::refused, "another worker serves")));
  } else if (message.say == Say::read_token) {
    auto token = keeper::read_token(static_cast<uid_t>(message.number), std::atoi(message.text.c_str()));
    reply = answer_of(token ? Result<void>{} : fail(Error(token.error())));
    if (token) pipe = std::move(*token), descriptors = {pipe.get()};
  } else if (message.say == Say::mount) {
    Result<void> mounted;
    if (!device_ && !ending_) {
      auto device = owner_.mount(options_.mount);
      if (device) device_ = std::move(*device);
      else mounted = fail(device);
    }
    if (mounted && !device_) mounted = fail(Code::cancelled, "the mount is being ended");
    reply = answer_of(mounted);
    if (mounted) descriptors = {device_.get()};
  } else if (message.say == Say::open_backing) {
    const auto blob = BlobId::parse(message.text);
    reply = answer_of(blob ? owner_.open_backing(*blob) : fail(Error(blob.error())));
  } else {
    // The connection ends with its last descriptor.
    device_.reset();
    unmounted_ = true;
    if (!ending_) service_.stopping("the mount is being ended");
    reply = answer_of(owner_.unmount());
  }
  if (auto sent = worker.channel->send(reply, descriptors); !sent) worker.channel.reset();
}

// What it said at last of files that nobody has open.
void Supervisor::forget_backings(Worker& worker) {
  while (worker.channel) {
    const auto message = worker.channel->receive(nullptr);
    if (!message) return worker.channel.reset();
    if (message->say == Say::close_backing) owner_.close_backing(message->number);
  }
}

// One that waits for its own mount cannot end while that is there.
int Supervisor::reap(Worker& worker) {
  return end_worker(worker, [&] {
    log(Level::error, "keeper", "the worker {} does not end: the mount is ended", worker.pid);
    ending_ = true;
    owner_.abort();
  });
}

// Who looked for a token; and who was left behind on a file system that hangs. (A worker's end is heard by its descriptor.)
void Supervisor::reap_others() {
  siginfo_t ended{};
  while (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0 &&
         !(worker_ && worker_->pid == ended.si_pid) && !(candidate_ && candidate_->pid == ended.si_pid)) {
    ::waitpid(ended.si_pid, nullptr, 0);
    ended = {};
  }
}

void Supervisor::end_of(std::optional<Worker>& worker) {
  const int status = reap(*worker);
  const std::string why = fmt::format("{}{}{}", words_of(status), worker->failure ? ": " : "",
                                      worker->failure ? worker->failure->message : "");
  if (&worker == &candidate_) {
    candidate_.reset();
    complain(worker_ && worker_->serving, fmt::format("the new worker cannot serve ({}); the old one goes on", why));
    return;
  }
  const bool by_itself = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (by_itself || ending_) {
    done_ = true;
  } else if (!ready_) {
    outcome_ = worker->failure
                   ? fail(std::move(*worker->failure))
                   : fail(Code::bug, "the daemon ended while it started ({}); its log may say why", why);
    done_ = true;
  } else if (unmounted_) {
    log(Level::error, "keeper", "the worker {} ended ({}) behind the mount", worker->pid, why);
    done_ = true;
  } else {
    complain(false, fmt::format("the worker {} ended ({}); another one goes on", worker->pid, why));
    // Who kills a worker is somebody else.
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (worker->serving && (killed || Time::now() - *worker->serving >= kServed)) {
      hasty_ = 0;
      wait_ = kFirstPause;
    } else {
      ++hasty_;
    }
    // The program may be another one by now, or none.
    own_image_ = !worker->serving && !own_image_;
  }
  forget_backings(*worker);
  worker_.reset();
  if (candidate_ && !done_) worker_ = std::exchange(candidate_, std::nullopt);
  else if (candidate_) reap(*candidate_);
}

void Supervisor::signalled() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof(signal)) == static_cast<ssize_t>(sizeof(signal))) {
    if (signal.ssi_signo == SIGUSR1) {
      replace(static_cast<pid_t>(signal.ssi_pid));
      continue;
    }
    log(Level::info, "keeper", "ending on signal {}", signal.ssi_signo);
    if (!std::exchange(ending_, true) && !unmounted_)
      service_.stopping(fmt::format("ending on signal {}", signal.ssi_signo));
    if (worker_) ::kill(worker_->pid, SIGTERM);
  }
}

void Supervisor::replace(pid_t asked_by) {
  if (!ready_ || ending_ || unmounted_) return;
  // Also where one comes already: its READY is the answer then.
  service_.reloading("a new worker looks whether it can serve");
  if (!worker_ || candidate_) return;
  log(Level::info, "keeper", "pid={} asks for another worker", asked_by);
  own_image_ = false;
  auto started = start_worker(options_, false);
  if (started) candidate_ = std::move(*started);
  else complain(worker_->serving.has_value(), started.error().message);
}

// One that wishes for ever is answered more and more slowly.
void Supervisor::wish(pid_t worker) {
  const auto now = Time::now();
  if (now < next_wish_) return;
  if (now - next_wish_ > kLongestWish) wish_pause_ = kServed;
  next_wish_ = now + wish_pause_;
  wish_pause_ = std::min(2 * wish_pause_, kLongestWish);
  replace(worker);
}

void Supervisor::complain(bool serves, const std::string& what) {
  log(Level::error, "keeper", "{}", what);
  if (ending_ || unmounted_) return;
  if (serves) service_.ready(what);
  else service_.status(what);
}

void Supervisor::pause(std::chrono::milliseconds time) {
  const auto until = Time::now() + time;
  while (!ending_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Time::now()).count();
    if (left <= 0) return;
    pollfd watched{signals_.get(), POLLIN, 0};
    if (::poll(&watched, 1, static_cast<int>(left)) > 0) signalled();
  }
}

Result<void> Supervisor::run() {
  if (auto prepared = prepare(); !prepared) return prepared;
  while (!done_) {
    if (worker_) {
      watch();
      continue;
    }
    if (hasty_ >= kHastyEnds) {
      complain(false, fmt::format("{} workers in a row ended at once; the next one comes in {} ms", hasty_, wait_.count()));
      pause(wait_);
      wait_ = std::min(2 * wait_, kLongestPause);
    }
    if (ending_) break;
    auto started = start_worker(options_, own_image_);
    if (started) {
      worker_ = std::move(*started);
      continue;
    }
    if (!ready_) return fail(started);
    complain(false, started.error().message);
    hasty_ = kHastyEnds;
  }
  device_.reset();
  if (!outcome_) service_.status(outcome_.error().message);
  if (auto gone = owner_.unmount(); !gone) log(Level::error, "keeper", "{}", gone.error().message);
  return std::move(outcome_);
}

}  // namespace

Result<void> run_keeper(const KeeperOptions& options) {
  return Supervisor(options).run();
}

}  // namespace hffs
