// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "hffs/guarded.h"
#include "hffs/prefetch_queue.h"
#include "hffs/telemetry.h"
#include "orders.h"

namespace hffs {
namespace prefetch {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::minutes kTold{10};
constexpr std::size_t kMostTold = 256, kMostWork = 1'000;

class Queue final : public std::enable_shared_from_this<Queue> {
 public:
  Queue(PrefetchQueue::Options options, Catalog& catalog, Store& store, TransferEngine& transfer, Budget& budget,
        const Clock& clock)
      : options_(options), store_(store), clock_(clock), orders_(options, catalog, store, transfer, budget, clock) {}

  void start() {
    orders_.on_event([weak = weak_from_this()](Event event) {
      if (const auto queue = weak.lock()) queue->post(std::move(event));
    });
    thread_ = std::thread([this] { run(); });
  }
  void stop();
  void run_later(std::move_only_function<void()> work);
  Result<std::uint64_t> add(PrefetchOrder order);
  bool cancel(std::uint64_t number);
  std::optional<PrefetchQueue::State> look(std::uint64_t number, std::optional<uid_t> user);
  std::vector<PrefetchQueue::State> list() const;

 private:
  using Event = Orders::Event;
  // What other threads see.
  struct Told {
    PrefetchQueue::State state;
    Globs globs;
    bool stays = false;
    Instant looked_at{};
    std::optional<Instant> ended;
    bool cancelled = false;
  };
  struct Shared {
    std::vector<Event> events;
    std::vector<Order> added;
    std::vector<std::move_only_function<void()>> work;
    std::map<std::uint64_t, Told> told;
    // A daemon that begins anew has other numbers.
    std::uint64_t next = std::uint64_t{std::random_device{}()} << 16;
    bool stopping = false;
  };

  static void make_room(Shared& shared, Instant now);
  void run();
  void post(Event event);
  bool publish(Order& order);

  const PrefetchQueue::Options options_;
  Store& store_;
  const Clock& clock_;
  mutable Guarded<Shared> shared_;
  std::condition_variable posted_;
  Orders orders_;  // of the thread
  std::thread thread_;
};

void Queue::stop() {
  shared_.lock()->stopping = true;
  posted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Queue::run_later(std::move_only_function<void()> work) {
  auto shared = shared_.lock();
  if (shared->stopping || shared->work.size() >= kMostWork) return;
  shared->work.push_back(std::move(work));
  posted_.notify_one();
}

// Those that have ended are told of for a while, as long as there is room.
void Queue::make_room(Shared& shared, Instant now) {
  std::erase_if(shared.told, [&](const auto& item) { return item.second.ended && now - *item.second.ended > kTold; });
  while (shared.told.size() >= kMostTold) {
    auto oldest = shared.told.end();
    for (auto each = shared.told.begin(); each != shared.told.end(); ++each)
      if (each->second.ended && (oldest == shared.told.end() || *each->second.ended < *oldest->second.ended)) oldest = each;
    if (oldest == shared.told.end()) return;
    shared.told.erase(oldest);
  }
}

Result<std::uint64_t> Queue::add(PrefetchOrder given) {
  auto shared = shared_.lock();
  if (shared->stopping) return fail(Code::cancelled, "the daemon is ending");
  const Instant now = clock_.now();
  make_room(*shared, now);
  std::size_t orders = 0, files = given.files.size();
  for (auto& [number, told] : shared->told) {
    if (told.ended || told.cancelled || told.state.user != given.who.uid) continue;
    if (told.state.repo == given.repo && told.state.commit == given.commit && told.globs == given.globs) {
      told.looked_at = now;
      told.stays = told.stays || given.stays;
      return number;
    }
    ++orders;
    files += told.state.files;
  }
  if (orders >= options_.orders_per_user || files > options_.files_per_user)
    return fail(Code::over_quota, "{} prefetches of yours are under way already; wait until one has ended", orders);
  std::set<std::uint64_t> seen;
  std::erase_if(given.files, [&](const TreeFile& file) { return !seen.insert(file.blob.number).second; });
  const std::uint64_t number = shared->next++;
  PrefetchQueue::State state{.number = number,
                             .repo = given.repo,
                             .commit = given.commit,
                             .user = given.who.uid,
                             .stays = given.stays,
                             .running = true,
                             .files = given.files.size(),
                             .active = {},
                             .failed = {}};
  std::deque<TreeFile> waiting;
  for (TreeFile& file : std::exchange(given.files, {})) {
    state.bytes += file.blob.size;
    waiting.push_back(std::move(file));
  }
  shared->told.emplace(number, Told{.state = state, .globs = std::move(given.globs), .stays = given.stays, .looked_at = now,
                                    .ended = {}});
  shared->added.push_back({.number = number, .who = given.who.uid, .state = std::move(state), .waiting = std::move(waiting),
                           .active = {}, .done = {}});
  posted_.notify_one();
  return number;
}

bool Queue::cancel(std::uint64_t number) {
  auto shared = shared_.lock();
  const auto found = shared->told.find(number);
  if (found == shared->told.end() || found->second.ended) return false;
  found->second.cancelled = true;
  posted_.notify_one();
  return true;
}

std::optional<PrefetchQueue::State> Queue::look(std::uint64_t number, std::optional<uid_t> user) {
  auto shared = shared_.lock();
  const auto found = shared->told.find(number);
  if (found == shared->told.end() || (user && found->second.state.user != *user)) return std::nullopt;
  found->second.looked_at = clock_.now();
  return found->second.state;
}

std::vector<PrefetchQueue::State> Queue::list() const {
  std::vector<PrefetchQueue::State> list;
  auto shared = shared_.lock();
  for (const auto& [number, told] : shared->told) {
    list.push_back(told.state);
    list.back().failed.clear();
  }
  return list;
}

void Queue::post(Event event) {
  auto shared = shared_.lock();
  if (shared->stopping) return;
  shared->events.push_back(std::move(event));
  posted_.notify_one();
}

void Queue::run() {
  ::pthread_setname_np(::pthread_self(), "prefetch-queue");
  while (true) {
    std::vector<Event> events;
    std::vector<std::move_only_function<void()>> work;
    {
      auto shared = shared_.lock();
      if (shared->events.empty() && shared->added.empty() && shared->work.empty() && !shared->stopping) {
        if (orders_.all().empty())
          shared.wait(posted_);
        else
          shared.wait_until(posted_, std::chrono::steady_clock::now() + kTick);
      }
      if (shared->stopping) break;
      events.swap(shared->events);
      work.swap(shared->work);
      for (Order& order : shared->added) orders_.all().push_back(std::move(order));
      shared->added.clear();
    }
    for (const Event& event : events) orders_.handle(event);
    for (auto& each : work) each();
    orders_.work();
    std::erase_if(orders_.all(), [this](Order& order) { return !publish(order); });
  }
  orders_.all().clear();
  // What they hold goes here, and not under the lock.
  const auto rest = std::exchange(shared_.lock()->work, {});
}

// False: it has ended, and that is told.
bool Queue::publish(Order& order) {
  PrefetchQueue::State& state = order.state;
  if (order.waiting.empty() && order.active.empty()) {
    state.running = false;
    // What others needed the room for went again.
    for (const TreeFile& file : order.done)
      if (const auto now = store_.blob(file.blob.number); !now || (!now->verified && now->bytes_here < now->size)) {
        --state.files_done;
        state.bytes_done -= file.blob.size;
        order.give_up(file, Code::no_space, "it was evicted again to make room; the limit is too small for all of it");
      }
  }
  PrefetchQueue::State now = state;
  for (const auto& file : order.active) {
    const std::uint64_t size = file->file.blob.size;
    const std::uint64_t here = file->blob ? size - missing_bytes(*file->blob, {0, size}) : 0;
    now.bytes_done += here;
    now.active.push_back({.path = file->file.path, .size = size, .here = here, .verifying = file->verifying,
                          .trouble = file->trouble});
  }
  const Instant time = clock_.now();
  auto shared = shared_.lock();
  Told& told = shared->told.at(order.number);
  if (!told.stays && time - told.looked_at > options_.silence) told.cancelled = true;
  if (told.cancelled) now.running = false;
  if (!now.running) told.ended = time;
  now.stays = told.stays;
  told.state = std::move(now);
  return told.state.running;
}

class QueueHandle final : public PrefetchQueue {
 public:
  explicit QueueHandle(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) { queue_->start(); }
  ~QueueHandle() override { queue_->stop(); }
  void stop() override { queue_->stop(); }
  void run(std::move_only_function<void()> work) override { queue_->run_later(std::move(work)); }
  Result<std::uint64_t> add(PrefetchOrder order) override { return queue_->add(std::move(order)); }
  bool cancel(std::uint64_t number) override { return queue_->cancel(number); }
  std::optional<State> look(std::uint64_t number, std::optional<uid_t> user) override {
    return queue_->look(number, user);
  }
  std::vector<State> list() const override { return queue_->list(); }

 private:
  const std::shared_ptr<Queue> queue_;
};

}  // namespace
}  // namespace prefetch

std::unique_ptr<PrefetchQueue> PrefetchQueue::create(Options options, Catalog& catalog, Store& store,
                                                     TransferEngine& transfer, Budget& budget, const Clock& clock) {
  return std::make_unique<prefetch::QueueHandle>(
      std::make_shared<prefetch::Queue>(options, catalog, store, transfer, budget, clock));
}

}  // namespace hffs
