// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include <algorithm>

#include "attempt.h"

namespace hffs::transfer {
namespace {

// About two seconds of back-off.
constexpr int kFailuresToWarn = 4;
// Fewer bytes than this within `slot_patience` are silence.
constexpr std::uint64_t kTrickle = 16 * 1024;

BlobKey key_of(const Blob& blob) {
  return {blob.identity().number, blob.identity().incarnation};
}

Pace pace_of(const TransferOptions& options, int most) {
  const int least = std::clamp(options.least_ahead, 1, most);
  return {least, std::clamp(options.first_ahead, least, most), most};
}

}  // namespace

std::chrono::milliseconds retry_delay(const TransferOptions& options, int failures,
                                      std::chrono::milliseconds asked_by_peer) {
  std::chrono::milliseconds delay = options.retry_first;
  for (int i = 1; i < failures && delay < options.retry_most; ++i) delay *= 2;
  return std::max(std::min(delay, options.retry_most), asked_by_peer);
}

Engine::Engine(TransferOptions options, Origin& origin, const Clock& clock, Metrics& metrics)
    : options_(options),
      origin_(origin),
      clock_(clock),
      metrics_(metrics),
      pace_(pace_of(options, static_cast<int>(shared_slots()))) {}

std::uint64_t Engine::fetch(std::shared_ptr<Blob> blob, std::vector<FileSource> sources,
                            ByteRange range, std::stop_token stop, Done<void> done, bool ahead) {
  std::uint64_t begun = 0;
  const auto waiter = std::make_shared<Waiter>();
  waiter->key = key_of(*blob);
  waiter->ahead = ahead;
  waiter->span = blocks_of(clip(range, sources.front().size));
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    const auto answer = [&](Result<void> result) {
      completions.add(std::move(done), std::move(result));
      return std::uint64_t{0};
    };
    if (stopping_) return answer(fail(Code::cancelled, "shutting down"));
    if (auto may = check_corrupt(waiter->key.number, sources.front()); !may)
      return answer(std::move(may));
    const auto missing = blob->missing(clip(range, sources.front().size));
    if (missing.empty()) return answer({});
    waiter->done = std::move(done);
    waiter->deadline = deadlines_.emplace(clock_.now() + options_.read_deadline, waiter);
    waiters_.insert(waiter);
    prefer_willing(sources);
    begun = plan(waiter, blob, sources, missing);
  }
  changed_.notify_all();  // an earlier deadline, perhaps
  if (stop.stop_possible())
    waiter->on_stop.emplace(std::move(stop),
                            [weak_engine = weak_from_this(), weak = std::weak_ptr(waiter)] {
                              if (const auto engine = weak_engine.lock())
                                engine->cancel_waiter(weak);
                            });
  dispatch();
  return begun;
}

std::uint64_t Engine::plan(const std::shared_ptr<Waiter>& waiter, const std::shared_ptr<Blob>& blob,
                           std::span<const FileSource> sources,
                           const std::vector<BlockRun>& missing) {
  std::shared_ptr<Request> request;
  std::uint64_t begun = 0;
  for (const BlockRun& run : missing) {
    request.reset();
    for (BlockIndex block = run.first; block != run.end(); ++block) {
      InFlight& entry = blocks_[{waiter->key, block}];
      entry.waiters.push_back(waiter);
      ++waiter->blocks_left;
      if (entry.owner || entry.writing) {
        if (entry.owner && !waiter->ahead) demand(entry.owner, block);
        request.reset();
        continue;
      }
      if (!request || request->run.count >= options_.blocks_per_request) {
        request = std::make_shared<Request>(waiter->key, blob, sources, block);
        request->demanded = !waiter->ahead;
        enqueue(request);
      }
      ++request->run.count;
      entry.owner = request;
      begun += bytes_of(block, sources.front().size).size;
    }
  }
  return begun;
}

// Somebody waits for a block that was to be fetched ahead. What is still in the queue is cut there.
void Engine::demand(std::shared_ptr<Request> request, BlockIndex block) {
  if (request->demanded) return;
  const bool queued = std::find(queue_.begin(), queue_.end(), request) != queue_.end();
  if (!queued || block == request->run.first || !request->partial.empty()) {
    request->demanded = true;
    return;
  }
  std::vector<FileSource> sources{request->source};
  sources.insert(sources.end(), request->others.begin(), request->others.end());
  auto rest = std::make_shared<Request>(request->key, request->blob, sources, block);
  rest->demanded = true;
  rest->run.count = request->run.end() - block;
  request->run.count -= rest->run.count;
  for (auto [entry, end] = range_of(rest->key, rest->run); entry != end; ++entry)
    if (entry->second.owner == request) entry->second.owner = rest;
  enqueue(std::move(rest));
}

std::pair<Engine::Blocks::iterator, Engine::Blocks::iterator> Engine::range_of(const BlobKey& key,
                                                                               BlockRun run) {
  return {blocks_.lower_bound({key, run.first}), blocks_.lower_bound({key, run.end()})};
}

bool Engine::owns_any(const Request& request) {
  const auto [begin, end] = range_of(request.key, request.run);
  return std::any_of(begin, end,
                     [&](const auto& item) { return item.second.owner.get() == &request; });
}

bool Engine::wanted(const Request& request) {
  const auto [begin, end] = range_of(request.key, request.run);
  return std::any_of(begin, end, [&](const auto& item) {
    const InFlight& entry = item.second;
    return entry.owner.get() == &request &&
           std::any_of(entry.waiters.begin(), entry.waiters.end(),
                       [](const auto& waiter) { return bool(waiter->done); });
  });
}

// Leaves out what came in another way while the request rested. It is wanted, so it owns a block.
void Engine::trim(Request& request) {
  const auto owns = [&](BlockIndex block) {
    const auto found = blocks_.find({request.key, block});
    return found != blocks_.end() && found->second.owner.get() == &request;
  };
  while (!owns(request.run.end() - 1)) --request.run.count;
  BlockIndex block = request.run.first;
  while (!owns(block)) ++block;
  if (!request.partial.empty() && request.position / kBlockSize == block) return;
  buffered_ -= request.partial.size();
  request.partial = {};
  request.position = block * kBlockSize;
}

// Gives up what a request owns. With an error its waiters hear it.
void Engine::drop(Request& request, const Error* error, Completions& completions) {
  auto [entry, end] = range_of(request.key, request.run);
  while (entry != end) {
    if (entry->second.owner.get() != &request) {
      ++entry;
      continue;
    }
    const auto waiters = std::move(entry->second.waiters);
    entry = blocks_.erase(entry);
    for (const auto& waiter : waiters)
      if (error != nullptr) finish(waiter, fail(Error(*error)), completions);
  }
  buffered_ -= request.partial.size();
  request.partial = {};
}

void Engine::dispatch() {
  while (true) {
    std::shared_ptr<Request> request;
    ByteRange range;
    {
      std::lock_guard lock(mutex_);
      request = next_request();
      if (!request) return;
      const ByteRange all = bytes_of(request->run, request->source.size);
      range = {request->position, all.end() - request->position};
    }
    auto attempt = std::make_shared<Attempt>(shared_from_this(), request);
    auto handle = origin_.fetch_range(request->source, range, std::move(attempt));
    std::vector<std::shared_ptr<RangeFetch>> resumed;
    {
      std::lock_guard lock(mutex_);
      if (!running_.contains(request)) continue;  // it ended already
      request->running = handle;
      // It may have been paused, and its reason gone, before it had a handle.
      resumed = take_resumable();
      if (!stopping_) handle.reset();
    }
    for (const auto& fetch : resumed) fetch->resume();
    if (handle) handle->cancel();
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

// Only a write under way is a reason to pause: its end is what resumes. Half blocks alone must go
// on, or they would wait for each other; there are at most `requests_in_flight` of them.
bool Engine::reserve_buffer(std::uint64_t bytes, const std::shared_ptr<Request>& request) {
  std::lock_guard lock(mutex_);
  if (buffered_ + bytes > options_.buffer_bytes && writing_ > 0 && !stopping_) {
    paused_.insert(request);
    return false;
  }
  buffered_ += bytes;
  pace_.note(bytes);
  request->trickle += bytes;
  if (request->trickle >= kTrickle) {
    request->trickle = 0;
    heard_ = request->heard = clock_.now();
  }
  return true;
}

void Engine::release_buffer(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  buffered_ -= bytes;
}

std::vector<std::shared_ptr<RangeFetch>> Engine::take_resumable() {
  std::vector<std::shared_ptr<RangeFetch>> resumed;
  if (writing_ > 0 && buffered_ + kBlockSize > options_.buffer_bytes) return resumed;
  std::erase_if(paused_, [&](const auto& request) {
    request->heard = clock_.now();
    if (request->running) resumed.push_back(request->running);
    return bool(request->running);
  });
  return resumed;
}

void Engine::write_block(const std::shared_ptr<Request>& request, BlockIndex block,
                         std::vector<std::byte> bytes) {
  {
    std::lock_guard lock(mutex_);
    ++writing_;
    InFlight& entry = blocks_[{request->key, block}];
    entry.owner.reset();
    entry.writing = true;
  }
  const std::uint64_t size = bytes.size();
  request->blob->write(
      block, std::move(bytes),
      [self = shared_from_this(), key = request->key, block, size](Result<void> result) {
        self->block_written(key, block, size, std::move(result));
      });
}

void Engine::block_written(const BlobKey& key, BlockIndex block, std::uint64_t bytes,
                           Result<void> result) {
  // With a full disk the bytes can be read for a moment all the same.
  if (!result && result.error().code == Code::no_space) result = {};
  std::vector<std::shared_ptr<RangeFetch>> resumed;
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    --writing_;
    buffered_ -= bytes;
    settle({key, block}, result, completions);
    resumed = take_resumable();
  }
  for (const auto& fetch : resumed) fetch->resume();
}

void Engine::block_found(const std::shared_ptr<Request>& request, BlockIndex block) {
  Completions completions;
  std::lock_guard lock(mutex_);
  settle({request->key, block}, {}, completions);
}

void Engine::settle(const BlockKey& key, const Result<void>& result, Completions& completions) {
  const auto node = blocks_.extract(key);
  if (node.empty()) return;
  for (const auto& waiter : node.mapped().waiters)
    if (!result || --waiter->blocks_left == 0) finish(waiter, result, completions);
}

void Engine::attempt_ended(const std::shared_ptr<Request>& request, Result<void> result,
                           bool progress) {
  {
    Completions completions;
    std::lock_guard lock(mutex_);
    running_.erase(request);
    paused_.erase(request);
    request->running.reset();
    if (std::exchange(request->yielding, false) && !result &&
        result.error().code == Code::cancelled)
      result = fail(Code::unreachable, "{}",
                    request->restarting
                        ? "nothing came for a while; begun anew"
                        : "few bytes came; another blob had its turn");
    // It skipped a block that was here, and is no more.
    if (result && owns_any(*request)) result = fail(Code::unreachable, "a block was lost again");
    const bool restarted = std::exchange(request->restarting, false) && !stopping_;
    if (!result && result.error().code == Code::rate_limited) pace_.note_refusal(clock_.now());
    if (!result) metrics_.add(Metric::requests_retried, info(result.error().code).retry_helps);
    if (result) {
      // Its blocks are on their way to the disk; block_written takes them out of the table.
    } else if (!request->demanded && !restarted) {
      drop(*request, &result.error(), completions);
    } else if (!info(result.error().code).retry_helps || stopping_) {
      if (stopping_ || !ask_next_source(*request, result.error()))
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
      // Once for each streak, when it is no hiccup any more: a reader waits, and somebody will look.
      const Level level = request->failures == kFailuresToWarn ? Level::warn : Level::debug;
      log(level, "transfer", "{} of {}: {}; again in {} ms", request->source.path,
          request->source.repo.text(), request->last_error, delay.count());
    }
  }
  changed_.notify_all();
  dispatch();
}

}  // namespace hffs::transfer
