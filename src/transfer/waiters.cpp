// SPDX-License-Identifier: Apache-2.0
//
// How waits end, or go on, other than by their last block: deadlines, cancellation, refusal,
// shutdown.
#include <algorithm>

#include "engine.h"

namespace hffs::transfer {
namespace {

constexpr std::chrono::seconds kCorruptPause{60};
constexpr std::chrono::minutes kRefusedPause{5};
// While requests are under way.
constexpr std::chrono::milliseconds kPulse{250};
// The timer looks again at least so often.
constexpr std::chrono::milliseconds kLongestSleep{60 * 60 * 1'000};

std::string name_of(const FileSource& source) {
  return source.repo.layout() + '@' + source.commit.hex();
}

}  // namespace

void Engine::start() {
  timer_ = std::thread([this] { run_timer(); });
}

void Engine::finish(const std::shared_ptr<Waiter>& waiter, Result<void> result,
                    Completions& completions) {
  if (!waiter->done) return;
  deadlines_.erase(waiter->deadline);
  completions.add(std::exchange(waiter->done, {}), std::move(result));
  waiters_.erase(waiter);
}

// Takes a waiter out of the table. Gives the last reason why its blocks did not come.
std::string Engine::forget(const std::shared_ptr<Waiter>& waiter) {
  std::string reason;
  for (auto [entry, end] = range_of(waiter->key, waiter->span); entry != end; ++entry)
    if (std::erase(entry->second.waiters, waiter) != 0 && entry->second.owner &&
        !entry->second.owner->last_error.empty())
      reason = entry->second.owner->last_error;
  return reason;
}

void Engine::cancel_waiter(const std::weak_ptr<Waiter>& weak) {
  const auto waiter = weak.lock();
  if (!waiter) return;
  Completions completions;
  std::lock_guard lock(mutex_);
  finish(waiter, fail(Code::cancelled, "interrupted"), completions);
  forget(waiter);
}

void Engine::note_corrupt(std::uint64_t blob_number) {
  std::lock_guard lock(mutex_);
  Corrupt& bad = corrupt_[blob_number];
  if (++bad.times >= options_.corrupt_limit) bad.until = clock_.now() + kCorruptPause;
}

Result<void> Engine::check_corrupt(std::uint64_t blob_number, const FileSource& source) {
  const auto bad = corrupt_.find(blob_number);
  if (bad == corrupt_.end() || bad->second.times < options_.corrupt_limit) return {};
  if (bad->second.until <= clock_.now()) {
    corrupt_.erase(bad);
    return {};
  }
  return fail(Code::corrupt,
              "{} of {} came with wrong bytes {} times; not fetched again for a minute",
              source.path, source.repo.text(), bad->second.times);
}

void Engine::prefer_willing(std::vector<FileSource>& sources) {
  if (refused_.empty()) return;
  const Instant now = clock_.now();
  std::erase_if(refused_, [&](const auto& item) { return item.second <= now; });
  std::ranges::stable_partition(
      sources, [&](const FileSource& source) { return !refused_.contains(name_of(source)); });
}

// What the refused request owns goes to another one, for the next source, if there is one.
bool Engine::ask_next_source(Request& refused, const Error& why) {
  if (why.code == Code::cancelled || why.code == Code::offline) return false;
  if (refused.others.empty()) return false;
  refused_[name_of(refused.source)] = clock_.now() + kRefusedPause;
  auto next = std::make_shared<Request>(refused.key, refused.blob, refused.others,
                                        refused.run.first);
  next->run = refused.run;
  next->demanded = refused.demanded;
  next->position = refused.position;
  next->partial = std::exchange(refused.partial, {});
  for (auto [entry, end] = range_of(refused.key, refused.run); entry != end; ++entry)
    if (entry->second.owner.get() == &refused) entry->second.owner = next;
  log(Level::info, "transfer", "{} of {}: {}; asking {}", refused.source.path,
      refused.source.repo.text(), why.message, next->source.repo.text());
  enqueue(std::move(next));
  return true;
}

TransferEngine::Snapshot Engine::snapshot() {
  std::lock_guard lock(mutex_);
  return {waiters_.size(), running_.size(), buffered_};
}

void Engine::end_late_waiters(Instant now, Completions& completions) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto waiter = deadlines_.begin()->second.lock();
    if (!waiter) {
      deadlines_.erase(deadlines_.begin());
      continue;
    }
    const std::string reason = forget(waiter);
    finish(waiter,
           fail(Code::timed_out, "no bytes within the deadline; last: {}",
                reason.empty() ? "nothing arrived" : reason),
           completions);
  }
}

std::optional<std::chrono::milliseconds> Engine::tick(std::unique_lock<std::mutex>& lock) {
  const Instant now = clock_.now();
  bool due = false;
  while (!resting_.empty() && resting_.begin()->first <= now) {
    enqueue(std::move(resting_.begin()->second));
    resting_.erase(resting_.begin());
    due = true;
  }
  const bool late = !deadlines_.empty() && deadlines_.begin()->first <= now;
  if (due || late) {
    {
      Completions completions;
      end_late_waiters(now, completions);
      lock.unlock();
    }
    dispatch();
    lock.lock();
    return std::nullopt;
  }
  keep_pace(now);
  auto fetch = find_stalled(now);
  if (!fetch) fetch = free_a_slot(now);
  if (fetch) {
    lock.unlock();
    fetch->cancel();
    lock.lock();
    return std::nullopt;
  }
  const bool busy = !queue_.empty() || !running_.empty();
  Instant next = now + (busy ? std::min(kPulse, options_.slot_patience / 4) : kLongestSleep);
  if (!resting_.empty()) next = std::min(next, resting_.begin()->first);
  if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
  return std::chrono::ceil<std::chrono::milliseconds>(next - now);
}

void Engine::run_timer() {
  std::unique_lock lock(mutex_);
  while (!stopping_)
    if (const auto sleep = tick(lock)) changed_.wait_for(lock, *sleep);
}

void Engine::turn() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !tick(lock)) {
  }
}

void Engine::stop() {
  std::vector<std::shared_ptr<RangeFetch>> running;
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    stopping_ = true;
    const auto waiters = waiters_;
    for (const auto& waiter : waiters)
      finish(waiter, fail(Code::cancelled, "shutting down"), completions);
    for (const auto& request : running_)
      if (request->running) running.push_back(request->running);
    queue_.clear();
    resting_.clear();
  }
  changed_.notify_all();
  for (const auto& fetch : running) fetch->cancel();
  if (timer_.joinable()) timer_.join();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return running_.empty(); });
}

}  // namespace hffs::transfer
