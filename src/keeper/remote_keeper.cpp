// SPDX-License-Identifier: Apache-2.0
//
// The worker's end of the channel.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "channel.h"
#include "hffs/keeper.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

using keeper::Channel;
using keeper::kFine;
using keeper::Message;
using keeper::Say;

constexpr std::chrono::seconds kHeartbeat{1};

class RemoteKeeper final : public Keeper {
 public:
  explicit RemoteKeeper(UniqueFd socket) : channel_(std::move(socket)) {}

  Result<std::unique_ptr<Handover>> handover() override {
    // Without a keeper nobody would end the mount. (One that has gone already does not answer. Not before: who becomes
    // another user loses this.)
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Signals are for others.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    heart_ = std::jthread([this](const std::stop_token& stop) { beat(stop); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    auto memory = ask_descriptor({.say = Say::handover});
    if (!memory) return fail(memory);
    return Handover::map(*memory);
  }
  Result<void> take_turn() override {
    auto answer = ask({.say = Say::take_turn});
    return answer ? Result<void>{} : fail(answer);
  }
  Result<UniqueFd> mount() override { return ask_descriptor({.say = Say::mount}); }
  Result<void> may_back() override {
    auto answer = ask({.say = Say::may_back});
    return answer ? Result<void>{} : fail(answer);
  }
  Result<std::int32_t> open_backing(const BlobId& blob) override {
    return ask({.say = Say::open_backing, .text = blob.hex()});
  }
  void close_backing(std::int32_t id) override { say({.say = Say::close_backing, .number = id}); }
  Result<UniqueFd> read_token(uid_t user, pid_t process) override {
    return ask_descriptor({.say = Say::read_token,
                           .number = static_cast<std::int32_t>(user),
                           .text = std::to_string(process)});
  }
  Result<void> unmount() override {
    auto answer = ask({.say = Say::unmount});
    return answer ? Result<void>{} : fail(answer);
  }
  void abort() override { say({.say = Say::abort}); }
  void ask_replacement() override { say({.say = Say::replace}); }
  void tell_ready() override { say({.say = Say::ready}); }
  void tell_failed(const Error& why) override {
    say({.say = Say::failed, .code = static_cast<std::int32_t>(why.code), .text = why.message});
  }

 private:
  void say(const Message& message) {
    if (auto said = channel_.send(message); !said)
      log(Level::warn, "keeper", "{}", said.error().message);
  }
  Result<std::int32_t> ask(const Message& message, std::vector<UniqueFd>* descriptors = nullptr) {
    const std::lock_guard lock(asking_);
    if (auto sent = channel_.send(message); !sent) return fail(sent);
    auto answer = channel_.receive(descriptors);
    if (!answer) return fail(answer);
    if (answer->code != kFine) return fail(Error{static_cast<Code>(answer->code), answer->text, {}});
    return answer->number;
  }
  Result<UniqueFd> ask_descriptor(const Message& message) {
    std::vector<UniqueFd> descriptors;
    if (auto answer = ask(message, &descriptors); !answer) return fail(answer);
    if (descriptors.size() != 1) return fail(Code::bug, "the keeper gave no descriptor");
    return std::move(descriptors.front());
  }
  // Touches nothing but the socket: what it says is that this process runs.
  void beat(const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "heartbeat");
    std::unique_lock lock(pause_);
    do {
      (void)channel_.send({.say = Say::alive});
    } while (!wake_.wait_for(lock, stop, kHeartbeat, [&] { return stop.stop_requested(); }));
  }

  const Channel channel_;
  std::mutex asking_, pause_;
  std::condition_variable_any wake_;
  std::jthread heart_;
};

}  // namespace

std::unique_ptr<Keeper> connect_keeper(UniqueFd socket) {
  return std::make_unique<RemoteKeeper>(std::move(socket));
}

}  // namespace hffs
