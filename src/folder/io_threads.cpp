// SPDX-License-Identifier: Apache-2.0
#include "io_threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <thread>

#include "hffs/clock.h"
#include "hffs/telemetry.h"

namespace hffs::folder {
namespace {

Instant::rep now() {
  return system_clock().now().time_since_epoch().count();
}

}  // namespace

// Kept by the threads too: who hangs may outlive the owner.
struct IoThreads::State {
  explicit State(int its_most) : most(its_most) {}

  struct Queued {
    std::string place;
    Job job;
  };
  struct Running {
    std::string place;
    std::atomic<Instant::rep> beat = now();
  };

  // The first whose place may have another thread.
  std::deque<Queued>::iterator next() {
    return std::ranges::find_if(queue, [this](const Queued& each) {
      return std::ranges::count(running, each.place, &Running::place) < std::max(1, most / 2);
    });
  }

  const int most;
  std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  std::deque<Queued> queue;
  std::list<Running> running;
  int threads = 0, free = 0;
  std::stop_source stop;
};

IoThreads::IoThreads(int most) : state_(std::make_shared<State>(most)) {}

IoThreads::~IoThreads() {
  stop(std::chrono::milliseconds(0));
}

void IoThreads::run(std::string place, Job job) {
  const std::lock_guard lock(state_->mutex);
  if (state_->stop.stop_requested()) return;
  state_->queue.push_back({std::move(place), std::move(job)});
  const auto waiting = static_cast<int>(state_->queue.size());
  if (state_->free < waiting && state_->threads < state_->most) {
    ++state_->threads;
    std::thread([state = state_] { work(state); }).detach();
  }
  state_->changed.notify_all();
}

void IoThreads::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    ++state->free;
    state->changed.wait(lock, [&] {
      return state->stop.stop_requested() || state->next() != state->queue.end();
    });
    --state->free;
    if (state->stop.stop_requested()) break;
    const auto first = state->next();
    State::Queued next = std::move(*first);
    state->queue.erase(first);
    auto& running = state->running.emplace_back(std::move(next.place));
    const auto here = std::prev(state->running.end());
    lock.unlock();
    try {
      next.job({state->stop.get_token(), [&running] { running.beat = now(); }});
    } catch (const std::exception& thrown) {
      log(Level::error, "folder", "a job cannot go on: {}", thrown.what());
    }
    next.job = nullptr;
    lock.lock();
    state->running.erase(here);
    state->changed.notify_all();
  }
  --state->threads;
  state->changed.notify_all();
}

std::vector<std::string> IoThreads::silent(std::chrono::milliseconds patience) const {
  std::vector<std::string> places;
  const Instant::rep before = (system_clock().now() - patience).time_since_epoch().count();
  const std::lock_guard lock(state_->mutex);
  for (const auto& each : state_->running)
    if (each.beat < before) places.push_back(each.place);
  return places;
}

bool IoThreads::idle() const {
  const std::lock_guard lock(state_->mutex);
  return state_->running.empty() && state_->queue.empty();
}

void IoThreads::stop(std::chrono::milliseconds patience) {
  state_->stop.request_stop();
  std::deque<State::Queued> dropped;  // goes after the lock
  std::unique_lock lock(state_->mutex);
  dropped.swap(state_->queue);
  state_->changed.notify_all();
  state_->changed.wait_for(lock, patience, [this] { return state_->threads == 0; });
}

}  // namespace hffs::folder
