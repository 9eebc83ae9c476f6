// SPDX-License-Identifier: Apache-2.0
//
// Whose request gets a slot, and who has to give one back (the rule stands in hffs/transfer.h).
#include <algorithm>

#include "engine.h"

namespace hffs::transfer {

void Engine::enqueue(std::shared_ptr<Request> request) {
  request->queued = clock_.now();
  queue_.push_back(std::move(request));
}

// Who has been told to leave counts no more.
std::map<BlobKey, std::size_t> Engine::count_running(bool demanded) const {
  std::map<BlobKey, std::size_t> counts;
  for (const auto& request : running_)
    if (!request->yielding && (request->demanded || !demanded)) ++counts[request->key];
  return counts;
}

// The oldest request of the blob that has the fewest under way; before those that nobody waits
// for. What turns out to be of no use in the queue leaves it.
std::deque<std::shared_ptr<Request>>::iterator Engine::first_in_turn() {
  auto counts = count_running(false);
  while (true) {
    const auto first =
        std::min_element(queue_.begin(), queue_.end(), [&](const auto& one, const auto& other) {
          return std::pair(!one->demanded, counts[one->key]) <
                 std::pair(!other->demanded, counts[other->key]);
        });
    if (first == queue_.end()) return first;
    if (!wanted(**first)) {
      Completions nobody;
      drop(**first, nullptr, nobody);
    } else if (whole_.contains((*first)->key)) {
      resting_.emplace(clock_.now() + options_.retry_first, std::move(*first));
      changed_.notify_all();
    } else {
      return first;
    }
    queue_.erase(first);
  }
}

std::size_t Engine::shared_slots() const {
  const auto slots = static_cast<std::size_t>(options_.requests_in_flight);
  return std::max<std::size_t>(1, slots - slots / 4);
}

// Saturated: as many run as the pace allows, no more of an earlier pace, and what nobody waits for is
// next.
void Engine::keep_pace(Instant now) {
  const auto first = first_in_turn();
  pace_.tick(now, running_.size() <= static_cast<std::size_t>(pace_.limit()) &&
                      first != queue_.end() && !(*first)->demanded && !may_run(**first));
}

// The fetch of a request that has been silent for too long; for twice as long if nobody else hears
// anything either: it may be the origin, but all may wait for the one that is stuck.
std::shared_ptr<RangeFetch> Engine::find_stalled(Instant now) {
  const bool others = now - heard_ <= options_.stall_patience / 2;
  const auto patience = options_.stall_patience * (others ? 1 : 2);
  for (const auto& request : running_) {
    if (!request->running || request->yielding || paused_.contains(request)) continue;
    // Longer each time, or a far origin's first byte would never come.
    if (now - request->heard < patience * (request->failures + 1)) continue;
    request->yielding = request->restarting = true;
    return request->running;
  }
  return nullptr;
}

bool Engine::may_run(const Request& request) const {
  const auto slots = static_cast<std::size_t>(options_.requests_in_flight);
  const auto shared = shared_slots();
  if (!request.demanded) return running_.size() < static_cast<std::size_t>(pace_.limit());
  const auto counts = count_running(true);
  if (!counts.contains(request.key)) return running_.size() < slots;
  std::size_t demanded = 0;
  for (const auto& [key, count] : counts) demanded += count;
  return demanded < shared && running_.size() < slots;
}

std::shared_ptr<Request> Engine::next_request() {
  if (stopping_) return nullptr;
  const auto first = first_in_turn();
  if (first == queue_.end() || !may_run(**first)) return nullptr;
  auto request = std::move(*first);
  queue_.erase(first);
  trim(*request);
  request->heard = clock_.now();
  request->trickle = 0;
  running_.insert(request);
  return request;
}

// The fetch to cancel so that who waits too long has a slot; nothing where all is fair.
std::shared_ptr<RangeFetch> Engine::free_a_slot(Instant now) {
  const auto patience = options_.slot_patience;
  const auto yields = [](const auto& request) { return request->yielding; };
  // One after the other: a slot that is on its way may be enough.
  if (std::any_of(running_.begin(), running_.end(), yields)) return nullptr;
  const auto first = first_in_turn();
  if (first == queue_.end() || now - (*first)->queued < patience || may_run(**first))
    return nullptr;
  auto counts = count_running(false);
  std::shared_ptr<Request> victim;
  for (const auto& request : running_) {
    if (!request->running || paused_.contains(request)) continue;
    const auto more = counts[request->key] <=> (victim ? counts[victim->key] : 0);
    if (more > 0 || (more == 0 && request->heard < victim->heard)) victim = request;
  }
  if (!victim) return nullptr;
  const std::size_t mine = counts[(*first)->key];
  // Longer each time, or a far origin's first byte would never come.
  const bool silent = now - victim->heard >= patience * (victim->failures + 1);
  if (counts[victim->key] < mine + 2 && !(mine == 0 && silent)) return nullptr;
  victim->yielding = true;
  return victim->running;
}

}  // namespace hffs::transfer
