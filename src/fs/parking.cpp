// SPDX-License-Identifier: Apache-2.0
#include "parking.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace hffs::fs {
namespace {

constexpr std::chrono::milliseconds kPause{250};
// A request that was not interrupted is looked at once it has waited so long.
constexpr std::chrono::milliseconds kLong{500};

}  // namespace

Life find_life(pid_t thread) {
  if (thread <= 0) return Life::unseen;
  if (::kill(thread, 0) != 0 && errno == ESRCH) return Life::dying;
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  if (!status) return Life::unseen;
  std::string word;
  while (status >> word) {
    if (word == "State:") {
      char state = 0;
      status >> state;
      if (state == 'Z' || state == 'X') return Life::dying;
    } else if (word == "SigPnd:" || word == "ShdPnd:") {
      // The kernel makes every deadly signal a SIGKILL for each thread.
      std::string pending;
      status >> pending;
      if ((std::strtoull(pending.c_str(), nullptr, 16) & (std::uint64_t{1} << (SIGKILL - 1))) != 0)
        return Life::dying;
    }
  }
  return Life::alive;
}

Parking::Parking() : looker_([this] { look_after(); }) {}

Parking::~Parking() {
  held_.lock()->ending = true;
  look_.notify_all();
  looker_.join();
}

Parking::Place Parking::park(pid_t caller, Signals signals) {
  std::stop_source stop;
  Place place{.number = 0, .stop = stop.get_token()};
  auto held = held_.lock();
  place.number = held->next++;
  held->waiters.emplace(place.number, Waiter{.stop = std::move(stop),
                                             .caller = caller,
                                             .signals = signals,
                                             .since = system_clock().now()});
  return place;
}

void Parking::leave(std::uint64_t number) {
  auto held = held_.lock();
  held->waiters.erase(number);
  // Under the lock: clear() may be the last thing before this object's end.
  if (held->waiters.empty()) left_.notify_all();
}

void Parking::stop(std::uint64_t number) {
  std::stop_source source(std::nostopstate);
  {
    auto held = held_.lock();
    const auto found = held->waiters.find(number);
    if (found == held->waiters.end()) return;
    source = found->second.stop;
  }
  source.request_stop();
}

void Parking::interrupt(std::uint64_t number) {
  pid_t caller = 0;
  {
    auto held = held_.lock();
    const auto found = held->waiters.find(number);
    if (found == held->waiters.end()) return;
    found->second.interrupted = true;
    if (found->second.signals == Signals::deadly) caller = found->second.caller;
  }
  // Who cannot be seen must not hang.
  if (find_life(caller) != Life::alive) stop(number);
}

void Parking::clear() {
  std::vector<std::uint64_t> numbers;
  {
    auto held = held_.lock();
    for (const auto& [number, waiter] : held->waiters) numbers.push_back(number);
  }
  for (const std::uint64_t number : numbers) stop(number);
  auto held = held_.lock();
  while (!held->waiters.empty()) held.wait(left_);
}

void Parking::look_after() {
  ::pthread_setname_np(::pthread_self(), "fuse-waiters");
  auto held = held_.lock();
  while (!held->ending) {
    std::vector<std::pair<std::uint64_t, pid_t>> old;
    const Instant now = system_clock().now();
    for (const auto& [number, waiter] : held->waiters)
      if (waiter.interrupted || now - waiter.since >= kLong) old.emplace_back(number, waiter.caller);
    if (!old.empty()) {
      held.unlock();
      for (const auto& [number, caller] : old)
        if (find_life(caller) == Life::dying) stop(number);
      held = held_.lock();
    }
    if (!held->ending) held.wait_until(look_, system_clock().now() + kPause);
  }
}

}  // namespace hffs::fs
