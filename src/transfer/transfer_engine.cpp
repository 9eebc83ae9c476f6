// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "attempt.h"
#include "engine.h"
#include "hffs/transfer.h"

namespace hffs {
namespace transfer {
namespace {

constexpr std::chrono::seconds kCorruptPause{60};

BlobKey key_of(const Blob& blob) {
  return {blob.identity().number, blob.identity().incarnation};
}

}  // namespace

std::chrono::milliseconds retry_delay(const TransferOptions& options, int failures,
                                      std::chrono::milliseconds asked_by_peer) {
  std::chrono::milliseconds delay = options.retry_first;
  for (int i = 1; i < failures && delay < options.retry_most; ++i) delay *= 2;
  return std::max(std::min(delay, options.retry_most), asked_by_peer);
}

Engine::Engine(TransferOptions options, Origin& origin, const Clock& clock, Metrics& metrics)
    : options_(options), origin_(origin), clock_(clock), metrics_(metrics) {}

void Engine::start() {
  timer_ = std::thread([this] { run_timer(); });
}

void Engine::fetch(std::shared_ptr<Blob> blob, const FileSource& source, ByteRange range,
                   std::stop_token stop, Done<void> done) {
  const BlobKey key = key_of(*blob);
  std::shared_ptr<Waiter> waiter;
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    if (stopping_) return completions.add(std::move(done), fail(Code::cancelled, "shutting down"));
    if (const auto bad = corrupt_.find(key.number); bad != corrupt_.end()) {
      if (bad->second.until <= clock_.now() && bad->second.until != Instant{}) {
        corrupt_.erase(bad);
      } else if (bad->second.times >= options_.corrupt_limit) {
        return completions.add(std::move(done),
                               fail(Code::corrupt,
                                    "{} of {} came with wrong bytes {} times in a row; not fetched "
                                    "again for a minute",
                                    source.path, source.repo.text(), bad->second.times));
      }
    }
    const auto missing = blob->missing(clip(range, source.size));
    if (missing.empty()) return completions.add(std::move(done), {});
    waiter = std::make_shared<Waiter>();
    waiter->done = std::move(done);
    waiter->deadline = deadlines_.emplace(clock_.now() + options_.read_deadline, waiter);
    waiters_.insert(waiter);
    plan(waiter, blob, source, missing);
  }
  changed_.notify_all();  // an earlier deadline, perhaps
  if (stop.stop_possible())
    waiter->on_stop.emplace(std::move(stop),
                            [weak_engine = weak_from_this(), weak = std::weak_ptr(waiter)] {
                              if (const auto engine = weak_engine.lock())
                                engine->cancel_waiter(weak);
                            });
  dispatch();
}

void Engine::plan(const std::shared_ptr<Waiter>& waiter, const std::shared_ptr<Blob>& blob,
                  const FileSource& source, const std::vector<BlockRun>& missing) {
  const BlobKey key = key_of(*blob);
  std::shared_ptr<Request> request;
  for (const BlockRun& run : missing) {
    request.reset();
    for (BlockIndex block = run.first; block != run.end(); ++block) {
      InFlight& entry = blocks_[{key, block}];
      entry.waiters.push_back(waiter);
      ++waiter->blocks_left;
      if (entry.owner) {
        request.reset();
        continue;
      }
      if (!request || request->run.count >= options_.blocks_per_request) {
        request = std::make_shared<Request>(key, blob, source, block);
        queue_.push_back(request);
      }
      ++request->run.count;
      entry.owner = request;
    }
  }
}

bool Engine::wanted(const Request& request) const {
  for (auto entry = blocks_.lower_bound({request.key, request.run.first});
       entry != blocks_.end() && entry->first < BlockKey{request.key, request.run.end()}; ++entry)
    if (entry->second.owner.get() == &request && !entry->second.waiters.empty()) return true;
  return false;
}

// Gives up what a request owns. With an error its waiters hear it.
void Engine::drop(Request& request, const Error* error, Completions& completions) {
  auto entry = blocks_.lower_bound({request.key, request.run.first});
  while (entry != blocks_.end() && entry->first < BlockKey{request.key, request.run.end()}) {
    if (entry->second.owner.get() != &request) {
      ++entry;
      continue;
    }
    const auto waiters = std::move(entry->second.waiters);
    entry = blocks_.erase(entry);
    for (const auto& waiter : waiters)
      if (error != nullptr) finish(*waiter, fail(Error(*error)), completions);
  }
  buffered_ -= request.partial.size();
  request.partial = {};
}

void Engine::dispatch() {
  Completions completions;
  while (true) {
    std::shared_ptr<Request> request;
    ByteRange range;
    {
      std::lock_guard lock(mutex_);
      while (!stopping_ && !queue_.empty() &&
             running_.size() < static_cast<std::size_t>(options_.requests_in_flight)) {
        request = std::move(queue_.front());
        queue_.pop_front();
        if (!wanted(*request)) {
          drop(*request, nullptr, completions);
        } else if (whole_.contains(request->key)) {
          resting_.emplace(clock_.now() + options_.retry_first, request);
          changed_.notify_all();
        } else {
          break;
        }
        request.reset();
      }
      if (!request) return;
      running_.insert(request);
      const ByteRange all = bytes_of(request->run, request->source.size);
      range = {request->position, all.end() - request->position};
    }
    auto attempt = std::make_shared<Attempt>(shared_from_this(), request);
    auto handle = origin_.fetch_range(request->source, range, std::move(attempt));
    std::unique_lock lock(mutex_);
    if (!running_.contains(request)) continue;  // it ended already
    request->running = handle;
    if (!stopping_ || !handle) continue;
    lock.unlock();
    handle->cancel();
  }
}

bool Engine::begin_whole(const std::shared_ptr<Request>& request) {
  std::lock_guard lock(mutex_);
  auto& streaming = whole_[request->key];
  if (streaming && streaming != request) return false;
  streaming = request;
  return true;
}

void Engine::end_whole(const std::shared_ptr<Request>& request) {
  std::lock_guard lock(mutex_);
  whole_.erase(request->key);
}

bool Engine::reserve_buffer(std::uint64_t bytes, const std::shared_ptr<Request>& request) {
  std::lock_guard lock(mutex_);
  // Who holds part of a block may always finish it: buffers that wait for each other would
  // deadlock.
  if (buffered_ + bytes > options_.buffer_bytes && request->partial.empty() && !stopping_) {
    paused_.insert(request);
    return false;
  }
  buffered_ += bytes;
  return true;
}

void Engine::release_buffer(std::uint64_t bytes) {
  std::vector<std::shared_ptr<RangeFetch>> resumed;
  {
    std::lock_guard lock(mutex_);
    buffered_ -= bytes;
    if (bytes == 0 || buffered_ + kBlockSize > options_.buffer_bytes) return;
    for (const auto& request : paused_)
      if (request->running) resumed.push_back(request->running);
    paused_.clear();
  }
  for (const auto& fetch : resumed) fetch->resume();
}

void Engine::write_block(const std::shared_ptr<Request>& request, BlockIndex block,
                         std::vector<std::byte> bytes) {
  const std::uint64_t size = bytes.size();
  request->blob->write(block, std::move(bytes),
                       [self = shared_from_this(), key = request->key, block, size](auto) {
                         // Whatever became of the disk, the bytes can be read for a moment.
                         self->block_ready(key, block, size);
                       });
}

void Engine::block_ready(const BlobKey& key, BlockIndex block, std::uint64_t bytes) {
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    if (auto node = blocks_.extract({key, block}); !node.empty())
      for (const auto& waiter : node.mapped().waiters)
        if (--waiter->blocks_left == 0) finish(*waiter, {}, completions);
  }
  release_buffer(bytes);
}

void Engine::attempt_ended(const std::shared_ptr<Request>& request, Result<void> result,
                           bool progress) {
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    running_.erase(request);
    paused_.erase(request);
    request->running.reset();
    if (!result) metrics_.add(Metric::requests_retried, info(result.error().code).retry_helps);
    if (result) {
      // Blocks still in the table are on their way to the disk; block_ready takes them out.
    } else if (!info(result.error().code).retry_helps || stopping_) {
      drop(*request, &result.error(), completions);
    } else {
      request->failures = progress ? 1 : request->failures + 1;
      request->last_error = result.error().message;
      // Many half blocks would fill the memory while nothing moves.
      if (buffered_ > options_.buffer_bytes / 4) {
        buffered_ -= request->partial.size();
        request->position -= request->partial.size();
        request->partial = {};
      }
      const auto delay = retry_delay(options_, request->failures, result.error().retry_after);
      resting_.emplace(clock_.now() + delay, request);
      log(Level::debug, "transfer", "{} of {}: {}; again in {} ms", request->source.path,
          request->source.repo.text(), request->last_error, delay.count());
    }
  }
  changed_.notify_all();
  dispatch();
}

void Engine::finish(Waiter& waiter, Result<void> result, Completions& completions) {
  if (!waiter.done) return;
  deadlines_.erase(waiter.deadline);
  completions.add(std::exchange(waiter.done, {}), std::move(result));
  std::erase_if(waiters_, [&](const auto& other) { return other.get() == &waiter; });
}

void Engine::cancel_waiter(const std::weak_ptr<Waiter>& weak) {
  const auto waiter = weak.lock();
  if (!waiter) return;
  Completions completions;
  std::lock_guard lock(mutex_);
  finish(*waiter, fail(Code::cancelled, "interrupted"), completions);
  for (auto& [key, entry] : blocks_) std::erase(entry.waiters, waiter);
}

void Engine::note_corrupt(std::uint64_t blob_number) {
  std::lock_guard lock(mutex_);
  Corrupt& bad = corrupt_[blob_number];
  if (++bad.times >= options_.corrupt_limit) bad.until = clock_.now() + kCorruptPause;
}

TransferEngine::Snapshot Engine::snapshot() {
  std::lock_guard lock(mutex_);
  return {waiters_.size(), running_.size(), buffered_};
}

void Engine::run_timer() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Instant now = clock_.now();
    bool due = false;
    while (!resting_.empty() && resting_.begin()->first <= now) {
      queue_.push_back(std::move(resting_.begin()->second));
      resting_.erase(resting_.begin());
      due = true;
    }
    {
      Completions completions;
      std::vector<std::shared_ptr<Waiter>> late;
      for (auto entry = deadlines_.begin(); entry != deadlines_.end() && entry->first <= now;
           ++entry)
        if (auto waiter = entry->second.lock()) late.push_back(std::move(waiter));
      for (const auto& waiter : late) {
        std::string why = "nothing arrived";
        for (auto& [key, entry] : blocks_)
          if (std::erase(entry.waiters, waiter) != 0 && entry.owner &&
              !entry.owner->last_error.empty())
            why = entry.owner->last_error;
        finish(*waiter, fail(Code::timed_out, "no bytes within the deadline; last: {}", why),
               completions);
      }
      if (due || !late.empty()) lock.unlock();
    }
    if (!lock.owns_lock()) {
      if (due) dispatch();
      lock.lock();
      continue;
    }
    Instant next = now + std::chrono::hours(1);
    if (!resting_.empty()) next = std::min(next, resting_.begin()->first);
    if (!deadlines_.empty()) next = std::min(next, deadlines_.begin()->first);
    changed_.wait_until(lock, next);
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
      finish(*waiter, fail(Code::cancelled, "shutting down"), completions);
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

namespace {

class Handle final : public TransferEngine {
 public:
  explicit Handle(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) { engine_->start(); }
  ~Handle() override { engine_->stop(); }
  void fetch(std::shared_ptr<Blob> blob, const FileSource& source, ByteRange range,
             std::stop_token stop, Done<void> done) override {
    engine_->fetch(std::move(blob), source, range, std::move(stop), std::move(done));
  }
  void note_corrupt(std::uint64_t number) override { engine_->note_corrupt(number); }
  Snapshot snapshot() const override { return engine_->snapshot(); }

 private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace
}  // namespace transfer

std::unique_ptr<TransferEngine> TransferEngine::create(TransferOptions options, Origin& origin,
                                                       Store&, const Clock& clock,
                                                       Metrics& metrics) {
  return std::make_unique<transfer::Handle>(
      std::make_shared<transfer::Engine>(options, origin, clock, metrics));
}

}  // namespace hffs
