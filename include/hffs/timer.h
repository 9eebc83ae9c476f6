// SPDX-License-Identifier: Apache-2.0
//
// Timer: runs something later, on a thread of its own: what is due at the same moment in the order
// in which it was given. What it runs must not block.
// Threads: any may call after(); stop() and the destructor belong to the owner.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "hffs/clock.h"
#include "hffs/guarded.h"

namespace hffs {

class Timer {
 public:
  Timer() : thread_([this] { run(); }) {}
  ~Timer() { stop(); }
  // Drops what has not run and joins; after() does nothing from then on. Not from a task.
  void stop() {
    state_.lock()->stop = true;
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    const auto dropped = std::exchange(state_.lock()->tasks, {});
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void after(std::chrono::milliseconds delay, std::move_only_function<void()> task) {
    state_.lock()->tasks.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
    changed_.notify_all();
  }

 private:
  struct State {
    std::multimap<Instant, std::move_only_function<void()>> tasks;
    bool stop = false;
  };

  void run() {
    auto state = state_.lock();
    while (!state->stop) {
      if (state->tasks.empty()) {
        state.wait(changed_);
        continue;
      }
      const auto first = state->tasks.begin();
      if (std::chrono::steady_clock::now() < first->first) {
        state.wait_until(changed_, first->first);
        continue;
      }
      auto task = std::move(first->second);
      state->tasks.erase(first);
      state.unlock();
      task();
      task = nullptr;
      state = state_.lock();
    }
  }

  Guarded<State> state_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace hffs
