// SPDX-License-Identifier: Apache-2.0
#include "hffs/prefetch.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

#include "hffs/guarded.h"
#include "orders.h"
#include "records.h"
#include "shards.h"

namespace hffs {
namespace prefetch {
namespace {

constexpr BlockIndex kBlocksAtOnce = 8;
constexpr std::size_t kMostFiles = 512;
constexpr std::size_t kMostEvents = 4'096;
constexpr std::size_t kMostNeighbours = 2'000;
// A file whose bytes do not come, or cannot be kept, is left alone for so long, twice as long each time.
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{30};
// Its header may be looked for in vain so often.
constexpr int kMostLooks = 200;

class Worker final : public std::enable_shared_from_this<Worker> {
 public:
  Worker(PrefetchOptions options, const Origin& origin, Catalog& catalog, Store& store,
         TransferEngine& transfer, const Clock& clock, Metrics& metrics)
      : options_(options),
        origin_(origin),
        catalog_(catalog),
        store_(store),
        transfer_(transfer),
        clock_(clock),
        metrics_(metrics) {}

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void stop();
  void post(Event event);

 private:
  struct Inbox {
    std::deque<Event> events;
    bool stopping = false;
  };

  void run();
  void handle(const Opened& event);
  void handle(const Read& event);
  void handle(const Fetched& event);

  // What was asked for with the policy comes whole, whether somebody still reads or not.
  bool is_left(const File& file, Instant now) const {
    return options_.policy == PrefetchPolicy::adaptive &&
           now - file.group->last_read > options_.patience;
  }
  File* find(const std::shared_ptr<Blob>& blob);
  File* wake(std::uint64_t number);
  void rest();
  void look_for_parts(File& file);
  void give_up(File& file, BlockRun run);
  void pump(File& file);
  void pump_group(Group& group);
  void follow(File& file);
  void burst(File& file);
  void fill_snapshot(File& file);
  void fill(std::uint64_t number, const std::shared_ptr<Group>& group);
  void make_room();

  const PrefetchOptions options_;
  const Origin& origin_;
  Catalog& catalog_;
  Store& store_;
  TransferEngine& transfer_;
  const Clock& clock_;
  Metrics& metrics_;
  Guarded<Inbox> inbox_;
  std::condition_variable posted_;
  // Of the thread:
  std::map<std::uint64_t, File> files_;  // by blob number
  std::vector<std::uint64_t> awake_;     // those that are held
  std::map<std::string, std::shared_ptr<Group>> groups_;
  std::thread thread_;
};

// A reader's event may be lost when there are too many: it is a guess less.
void Worker::post(Event event) {
  auto inbox = inbox_.lock();
  if (inbox->stopping) return;
  if (inbox->events.size() >= kMostEvents && !std::holds_alternative<Fetched>(event)) return;
  inbox->events.push_back(std::move(event));
  posted_.notify_one();
}

void Worker::stop() {
  inbox_.lock()->stopping = true;
  posted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Worker::run() {
  ::pthread_setname_np(::pthread_self(), "prefetch");
  while (true) {
    Event event;
    {
      auto inbox = inbox_.lock();
      while (inbox->events.empty() && !inbox->stopping) inbox.wait(posted_);
      if (inbox->stopping) break;
      event = std::move(inbox->events.front());
      inbox->events.pop_front();
    }
    make_room();
    std::visit([this](const auto& what) { handle(what); }, event);
    rest();
  }
  files_.clear();
}

std::string group_name(const FileSource& source) {
  return source.repo.text() + '@' + source.commit.hex();
}

// The file's record, made if need be; nothing where there is nothing to do for it. One of an earlier
// incarnation goes, so nobody may hold it.
File* Worker::find(const std::shared_ptr<Blob>& blob) {
  const BlobInfo& info = blob->identity();
  if (auto found = files_.find(info.number); found != files_.end()) {
    found->second.known = blob;
    if (found->second.incarnation == info.incarnation) return wake(info.number);
    files_.erase(found);
  }
  if (info.verified || blob->superseded() || info.size == 0) return nullptr;
  auto sources = catalog_.sources_of(info.number);
  if (!sources) return nullptr;
  auto& group = groups_[group_name(sources->front())];
  if (!group) group = std::make_shared<Group>();
  const Format format = format_of(sources->front().path);
  File file{.known = blob,
            .incarnation = info.incarnation,
            .sources = std::move(*sources),
            .plan = FilePlan(format, info.size),
            .group = group};
  files_.emplace(info.number, std::move(file));
  return wake(info.number);
}

// The file's record with its blob; nothing if there is none, or nobody has the blob open any more.
File* Worker::wake(std::uint64_t number) {
  const auto found = files_.find(number);
  if (found == files_.end()) return nullptr;
  File& file = found->second;
  if (file.blob) return &file;
  file.blob = file.known.lock();
  if (!file.blob) return nullptr;
  awake_.push_back(number);
  return &file;
}

// Between events: lets go of what nothing is under way of.
void Worker::rest() {
  std::erase_if(awake_, [this](std::uint64_t number) {
    const auto found = files_.find(number);
    if (found == files_.end()) return true;
    File& file = found->second;
    if (file.in_flight == 0) file.blob.reset();
    return !file.blob;
  });
}

// Between events: forgets files that are whole, and those of which nobody reads any more.
void Worker::make_room() {
  if (files_.size() < kMostFiles && groups_.size() < kMostFiles) return;
  const Instant now = clock_.now();
  std::erase_if(files_, [&](const auto& item) {
    const File& file = item.second;
    const auto blob = file.known.lock();
    return file.in_flight == 0 && (!blob || blob->superseded() || is_left(file, now));
  });
  while (files_.size() >= kMostFiles) files_.erase(files_.begin());
  std::erase_if(groups_, [](const auto& item) { return item.second.use_count() == 1; });
}

void Worker::handle(const Opened& event) {
  File* file = find(event.blob);
  if (file == nullptr) return;
  file->group->last_read = clock_.now();
  file->group->reader = event.user;
  if (options_.policy == PrefetchPolicy::snapshot) return fill_snapshot(*file);
  const BlobInfo& info = event.blob->identity();
  if (info.size > Burst::kLargestFile || !file->group->burst.may_begin(info.number)) return;
  // Its answer tells what the origin still allows.
  file->burst_follows = true;
  file->plan.fill();
  pump(*file);
  if (file->in_flight == 0 && std::exchange(file->burst_follows, false)) burst(*file);  // it came already
}

void Worker::burst(File& file) {
  const auto group = file.group;
  const std::uint64_t number = file.blob->identity().number;
  if (!group->burst.may_begin(number)) return;
  for (const std::uint64_t each : group->burst.choose(
           catalog_.neighbours(number, kMostNeighbours), origin_.files_left()))
    fill(each, group);
}

void Worker::handle(const Read& event) {
  File* file = find(event.blob);
  if (file == nullptr) return;
  file->group->last_read = clock_.now();
  file->group->reader = event.user;
  file->plan.note_read(event.range);
  if (options_.policy == PrefetchPolicy::file) file->plan.fill();
  if (options_.policy == PrefetchPolicy::snapshot) fill_snapshot(*file);
  look_for_parts(*file);
  pump(*file);
  pump_group(*file->group);
}

void Worker::handle(const Fetched& event) {
  File* const woken = wake(event.number);
  if (woken == nullptr || woken->incarnation != event.incarnation) return;
  File& file = *woken;
  const ByteRange range = bytes_of(event.run, file.blob->identity().size);
  file.in_flight -= std::min(file.in_flight, range.size);
  // On a full disk the bytes came, and were not kept.
  if (!event.came || (!file.blob->readable(range) && !file.blob->superseded())) {
    if (!event.came && event.charge) event.charge->failed(missing_bytes(*file.blob, range));
    return give_up(file, event.run);
  }
  file.pause = std::chrono::seconds{0};
  look_for_parts(file);
  if (std::exchange(file.burst_follows, false)) burst(file);
  pump(file);
  // A descriptor less.
  if (file.in_flight == 0 && file.blob->readable({0, file.blob->identity().size})) {
    std::erase(file.group->files, event.number);
    files_.erase(event.number);
  }
}

// For now.
void Worker::give_up(File& file, BlockRun run) {
  file.plan.forget(run);
  const Instant now = clock_.now();
  if (now < file.paused_until) return;  // one trouble, many requests
  file.pause = std::clamp(file.pause * 2, kFirstPause, kLongestPause);
  file.paused_until = now + file.pause;
}

void Worker::look_for_parts(File& file) {
  if (!file.plan.wants_extents() || file.looks >= kMostLooks) return;
  const Blob& blob = *file.blob;
  const std::uint64_t size = blob.identity().size;
  const auto peek = [&](ByteRange range) -> std::optional<std::vector<std::byte>> {
    if (range.end() > size || !blob.readable(range)) return std::nullopt;
    std::vector<std::byte> bytes(range.size);
    const auto count = blob.read(range.offset, bytes);
    if (!count || *count != range.size) return std::nullopt;
    return bytes;
  };
  ++file.looks;
  if (auto extents = load_extents(format_of(file.sources.front().path), size, peek))
    file.plan.set_extents(std::move(*extents));
}

void Worker::pump(File& file) {
  const Instant now = clock_.now();
  if (now < file.paused_until || is_left(file, now)) return;
  if (file.blob->superseded()) return follow(file);
  const BlobInfo& info = file.blob->identity();
  const auto here = [&](BlockIndex block) {
    return file.blob->readable(bytes_of(block, info.size));
  };
  while (file.in_flight < options_.bytes_ahead) {
    const auto run = file.plan.next(here, kBlocksAtOnce);
    if (!run) return follow(file);
    const ByteRange range = bytes_of(*run, info.size);
    std::shared_ptr<Charge> charge;
    if (options_.budget != nullptr) {
      const std::uint64_t cost = missing_bytes(*file.blob, range);
      const uid_t user = file.group->reader;
      // That is his, and no trouble of the file.
      if (!options_.budget->take_bytes(user, cost)) return file.plan.forget(*run);
      charge = std::make_shared<Charge>(*options_.budget, user, cost);
    }
    file.in_flight += range.size;
    metrics_.add(Metric::blocks_ahead, run->count);
    const std::uint64_t begun = transfer_.fetch_ahead(
        file.blob, file.sources, range,
        [weak = weak_from_this(), number = info.number, incarnation = info.incarnation, run = *run,
         charge](Result<void> result) {
          if (const auto self = weak.lock())
            self->post(Fetched{number, incarnation, run, result.has_value(), charge});
        });
    if (charge) charge->begun(begun);
  }
}

void Worker::pump_group(Group& group) {
  for (std::size_t i = 0; i < group.files.size(); ++i)  // it may grow
    if (File* const file = wake(group.files[i])) pump(*file);
}

// All of it was asked for, and much has come: on to the next shard.
void Worker::follow(File& file) {
  if (!file.plan.filling() || file.next_asked || file.in_flight > options_.bytes_ahead / 2) return;
  file.next_asked = true;
  const auto shard = Shard::parse(file.sources.front().path);
  if (!shard) return;
  for (const auto& each : catalog_.neighbours(file.blob->identity().number, kMostNeighbours))
    if (shard->is_followed_by(each.path)) return fill(each.blob.number, file.group);
}

void Worker::fill_snapshot(File& file) {
  if (std::exchange(file.group->whole, true)) return;
  const auto group = file.group;
  const std::uint64_t own = file.blob->identity().number;
  auto files = catalog_.neighbours(own, kMostFiles / 2);
  fill(own, group);
  for (const auto& each : files) fill(each.blob.number, group);
}

void Worker::fill(std::uint64_t number, const std::shared_ptr<Group>& group) {
  // A record that is held stays, whatever its blob has become: callers may hold it.
  File* file = wake(number);
  if (file == nullptr)
    if (const auto blob = store_.open_blob(number)) file = find(*blob);
  if (file == nullptr) return;
  file->group = group;
  file->plan.fill();
  if (std::ranges::find(group->files, number) == group->files.end())
    group->files.push_back(number);
  pump(*file);
}

class Handle final : public Prefetcher {
 public:
  explicit Handle(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) { worker_->start(); }
  ~Handle() override { worker_->stop(); }
  void opened(const std::shared_ptr<Blob>& blob, uid_t user) override {
    worker_->post(Opened{blob, user});
  }
  void read(const std::shared_ptr<Blob>& blob, ByteRange range, uid_t user) override {
    worker_->post(Read{blob, range, user});
  }

 private:
  std::shared_ptr<Worker> worker_;
};

class Nothing final : public Prefetcher {
 public:
  void opened(const std::shared_ptr<Blob>&, uid_t) override {}
  void read(const std::shared_ptr<Blob>&, ByteRange, uid_t) override {}
};

}  // namespace
}  // namespace prefetch

std::unique_ptr<Prefetcher> Prefetcher::create(PrefetchOptions options, const Origin& origin,
                                               Catalog& catalog, Store& store,
                                               TransferEngine& transfer, const Clock& clock,
                                               Metrics& metrics) {
  if (options.policy == PrefetchPolicy::off) return std::make_unique<prefetch::Nothing>();
  return std::make_unique<prefetch::Handle>(std::make_shared<prefetch::Worker>(
      options, origin, catalog, store, transfer, clock, metrics));
}

}  // namespace hffs
