// SPDX-License-Identifier: Apache-2.0
#include "blob_reader.h"

#include <chrono>
#include <mutex>
#include <optional>

#include "hffs/clock.h"
#include "parked.h"

namespace hffs::fs {
namespace {

// Bytes that came may be gone again (the disk is full and memory is short).
constexpr int kMostFetches = 4;
// How long the index is waited for until a blob whose bytes were wrong has its next incarnation: a
// matter of milliseconds, unless the disk does not take it.
constexpr std::chrono::seconds kLongestRenewal{10};

// Within this the kernel comes back after ESTALE.
constexpr std::chrono::seconds kSecondTry{1};
// And within this after EIO, for a page of what failed. Who tries again himself takes longer, mostly.
constexpr std::chrono::milliseconds kAtOnce{50};

// The index or the disk does not keep a file as a whole: once more, and no further.
constexpr int kMostWholeFetches = 2;

// What read() may answer: that the origin has lost what the tree names is no ENOENT of the file.
Error as_read_error(Error error) {
  switch (error.code) {
    case Code::cancelled:
    case Code::denied:
    case Code::needs_login:
    case Code::over_quota:
      return error;
    default:
      if (info(error.code).errno_value != EIO) error.code = Code::unreachable;
      return error;
  }
}

Result<std::vector<std::byte>> read_now(const Blob& blob, ByteRange range) {
  std::vector<std::byte> bytes(range.size);
  auto count = blob.read(range.offset, bytes);
  if (!count) return fail(count);
  bytes.resize(*count);
  return bytes;
}

NodeId node_of(const BlobInfo& blob) {
  return NodeId::of_blob(blob.number, blob.incarnation);
}

std::uint64_t count_missing(const Blob& blob) {
  std::uint64_t blocks = 0;
  for (const BlockRun& run : blob.missing({0, blob.identity().size})) blocks += run.count;
  return blocks;
}

// The blob's own node, or the one on which it was filled before it was verified, whose mode and pages
// are right to the end.
bool is_node_of(const BlobInfo& blob, NodeId node) {
  return node == node_of(blob) ||
         (blob.verified && node == NodeId::of_blob(blob.number, blob.incarnation - 1));
}

}  // namespace

struct BlobReader::Wait {
  NodeId node;
  std::shared_ptr<Blob> blob;
  std::vector<FileSource> sources;
  ByteRange range;
  std::stop_token stop;
  Done<std::vector<std::byte>> done;
  std::shared_ptr<Charge> charge;
  pid_t pid = 0;  // of who asked
  int fetches = 0;
  std::uint64_t missing = 0;  // blocks, when the last fetch of all began
  std::optional<Instant> renewing_since;
};

// Whether these bytes may be shown to anybody.
bool BlobReader::servable(const Blob& blob, ByteRange range) const {
  return options_.strict ? blob.whole() : blob.readable(range);
}

Result<std::shared_ptr<Blob>> BlobReader::open_now(NodeId node) {
  auto blob = store_.open_blob(node.blob_number());
  if (!blob) return blob;
  if (const BlobInfo& now = (*blob)->identity(); !is_node_of(now, node))
    return fail(Code::stale, "blob {} has a new incarnation", now.id.hex());
  return blob;
}

bool BlobReader::may_fetch(const Caller& caller) const {
  return options_.budget == nullptr || options_.budget->may_fetch(caller);
}

// What is not here of the range is taken from the caller's budget.
Result<std::shared_ptr<Charge>> BlobReader::charge(const Caller& caller, const Blob& blob,
                                                   ByteRange range) const {
  const std::uint64_t cost = missing_bytes(blob, range);
  if (options_.budget == nullptr || cost == 0) return nullptr;
  if (auto may = options_.budget->may_fetch(caller); !may) return fail(may);
  if (auto taken = options_.budget->take_bytes(caller.uid, cost); !taken) return fail(taken);
  return std::make_shared<Charge>(*options_.budget, caller.uid, cost);
}

Result<Opened> BlobReader::open(const Caller& caller, NodeId node) {
  auto blob = open_now(node);
  // Sent here from an earlier incarnation, and there is a later one already: the kernel asks no third time.
  if (!blob && blob.error().code == Code::stale && was_sent_here(node))
    blob = store_.open_blob(node.blob_number());
  else if (blob && node != node_of((*blob)->identity()) && !was_sent_here(node))
    blob = fail(Code::stale, "blob {} is verified now", (*blob)->identity().id.hex());
  if (!blob) {
    if (blob.error().code == Code::stale) {
      std::unique_lock lock(mutex_);
      refused_[node.blob_number()] = {node, system_clock().now()};
      return fail(blob);
    }
    return fail(std::move(blob.error()).during(catalog_.describe(node)));
  }
  const BlobInfo& info = (*blob)->identity();
  const bool whole = (*blob)->readable({0, info.size});
  if (options_.offline && !options_.offline_partial && !whole)
    return fail(Code::offline, "{}: not all of it is here, and the daemon is offline",
                catalog_.describe(node));
  if (!whole && may_fetch(caller)) prefetcher_.opened(*blob, caller.uid);
  // Found wrong a moment ago: the kernel's pages are wrong too. Of other incarnations they may be.
  const bool wrong = ((*blob)->superseded() && !whole) || !is_node_of(info, node);
  std::unique_lock lock(mutex_);
  Open& open = open_[node.value];
  if (!open.blob) open.blob = std::move(*blob);
  ++open.count;
  Opened opened{.keep_cache = !wrong};
  if (info.verified && whole && info.size >= options_.backing_from && node == node_of(info))
    opened.backing = info.id;
  return opened;
}

// The kernel looks a name up again once only after ESTALE. Between that LOOKUP and its OPEN somebody
// else may have filled the blob: who comes from an earlier node is served on the one it was sent to. But
// not where the verified file of that node is open, for the kernel may be reading it by itself.
bool BlobReader::was_sent_here(NodeId node) {
  const Instant now = system_clock().now();
  std::unique_lock lock(mutex_);
  if (const auto open = open_.find(node.value); open != open_.end())
    if (const BlobInfo& own = open->second.blob->identity(); own.verified && node == node_of(own))
      return false;
  std::erase_if(refused_, [&](const auto& item) { return now - item.second.when > kSecondTry; });
  const auto found = refused_.find(node.blob_number());
  return found != refused_.end() && found->second.node.incarnation() < node.incarnation();
}

// Where a long read failed the kernel asks for a page of it by itself, a page fault up to three times.
// Each of these would wait for a deadline of its own.
void BlobReader::note_given_up(const Wait& wait, const Error& error) {
  if (wait.pid == 0) return;
  const Instant now = system_clock().now();
  std::unique_lock lock(mutex_);
  std::erase_if(given_up_, [&](const GivenUp& each) { return now - each.when > kAtOnce; });
  given_up_.push_back({wait.node, wait.pid, wait.range, now, error});
}

std::optional<Error> BlobReader::given_up(const Caller& caller, NodeId node, ByteRange range) {
  const Instant now = system_clock().now();
  std::shared_lock lock(mutex_);
  for (const GivenUp& each : given_up_)
    if (each.pid == caller.pid && each.node == node && now - each.when <= kAtOnce &&
        each.range.offset < range.end() && range.offset < each.range.end())
      return each.error;
  return std::nullopt;
}

void BlobReader::reopen(NodeId node, std::uint32_t count) {
  auto blob = store_.open_blob(node.blob_number());
  if (!blob) {
    log(Level::warn, "fs", "{}", std::move(blob.error()).during(catalog_.describe(node)).message);
    return;
  }
  std::unique_lock lock(mutex_);
  open_[node.value] = {.blob = std::move(*blob), .count = count};
}

void BlobReader::close(NodeId node) {
  std::shared_ptr<Blob> last;  // closes its file after the lock
  std::unique_lock lock(mutex_);
  const auto open = open_.find(node.value);
  if (open == open_.end() || --open->second.count > 0) return;
  last = std::move(open->second.blob);
  open_.erase(open);
  lock.unlock();
}

Result<std::shared_ptr<Blob>> BlobReader::find(NodeId node) {
  {
    std::shared_lock lock(mutex_);
    const auto open = open_.find(node.value);
    if (open != open_.end()) return open->second.blob;
  }
  // Opened in an earlier process.
  return open_now(node);
}

// The blob's present incarnation, for a node that was opened as an earlier one.
Result<std::shared_ptr<Blob>> BlobReader::renew(NodeId node) {
  auto blob = store_.open_blob(node.blob_number());
  if (!blob) return blob;
  std::shared_ptr<Blob> old = *blob;  // goes after the lock
  std::unique_lock lock(mutex_);
  const auto open = open_.find(node.value);
  if (open != open_.end()) std::swap(open->second.blob, old);
  lock.unlock();
  return blob;
}

void BlobReader::read(const Caller& caller, NodeId node, ByteRange range, std::stop_token stop,
                      Done<std::vector<std::byte>> done) {
  auto blob = find(node);
  if (!blob) return done(fail(std::move(blob.error()).during(catalog_.describe(node))));
  range = clip(range, (*blob)->identity().size);
  if (range.empty()) return done(std::vector<std::byte>{});
  // Of who may have nothing fetched nothing is guessed, or others would lose what is fetched ahead of them.
  const auto tell = [&] {
    if (!(*blob)->identity().verified && may_fetch(caller)) prefetcher_.read(*blob, range, caller.uid);
  };
  if (servable(**blob, range)) {
    tell();
    auto bytes = read_now(**blob, range);
    if (bytes) return done(std::move(bytes));
    if (!(*blob)->superseded() && servable(**blob, range))
      return done(fail(std::move(bytes.error()).during(catalog_.describe(node))));
  }
  const ByteRange needed = options_.strict ? ByteRange{0, (*blob)->identity().size} : range;
  if (options_.offline && !(*blob)->readable(needed))
    return done(fail(Code::offline, "{}: bytes {}+{} are not here, and the daemon is offline",
                     catalog_.describe(node), range.offset, range.size));
  if (auto error = given_up(caller, node, range)) return done(fail(std::move(*error)));
  auto sources = catalog_.sources_of(node.blob_number());
  if (!sources) return done(fail(std::move(sources.error()).during(catalog_.describe(node))));
  auto charged = charge(caller, **blob, needed);
  if (!charged) return done(fail(std::move(charged.error()).during(catalog_.describe(node))));
  tell();
  metrics_.add(Metric::reads_parked);
  metrics_.add(Metric::reads_waiting);
  auto wait = std::make_shared<Wait>(Wait{.node = node,
                                          .blob = std::move(*blob),
                                          .sources = std::move(*sources),
                                          .range = range,
                                          .stop = stop,
                                          .done = std::move(done),
                                          .charge = std::move(*charged),
                                          .pid = caller.pid});
  if (catalog_.sees(caller, node)) return go_on(std::move(wait));
  // Open files stay open: who may no more is fetched for as long as another's token does it.
  catalog_.admit(caller, node, Parked<void>::wrap(std::move(stop), [this, wait](Result<void>) {
                   go_on(wait);
                 }));
}

void BlobReader::go_on(std::shared_ptr<Wait> wait) {
  if (servable(*wait->blob, wait->range)) return finish(wait, {});
  if (wait->stop.stop_requested()) return finish(wait, fail(Code::cancelled, "interrupted"));
  if (!wait->blob->superseded()) {
    const ByteRange all{0, wait->blob->identity().size};
    if (options_.strict && wait->blob->readable(all)) return await_verdict(std::move(wait));
    wait->missing = count_missing(*wait->blob);
    const auto charge = wait->charge;
    const std::uint64_t begun =
        transfer_.fetch(wait->blob, wait->sources, options_.strict ? all : wait->range, wait->stop,
                        [this, wait](Result<void> fetched) { arrived(wait, std::move(fetched)); });
    if (charge) charge->begun(begun);
    return;
  }
  auto blob = renew(wait->node);
  if (!blob) return finish(wait, fail(blob));
  wait->blob = std::move(*blob);
  if (!wait->blob->superseded()) {
    wait->renewing_since.reset();
    return go_on(std::move(wait));
  }
  // Its next incarnation is not in the index yet.
  const Instant now = system_clock().now();
  if (now - wait->renewing_since.value_or(now) > kLongestRenewal)
    return finish(wait, fail(Code::corrupt, "its bytes were wrong, and cannot be put aside"));
  if (!wait->renewing_since) wait->renewing_since = now;
  store_.write([](WriteTxn&) {},
               [this, wait](Result<void>) { go_on(wait); });
}

void BlobReader::await_verdict(std::shared_ptr<Wait> wait) {
  const auto blob = wait->blob;
  blob->when_settled(Parked<void>::wrap(wait->stop, [this, wait](Result<void> settled) {
    if (!settled) return finish(wait, std::move(settled));
    go_on(wait);
  }));
}

void BlobReader::arrived(std::shared_ptr<Wait> wait, Result<void> fetched) {
  const bool found_wrong = wait->blob->superseded() && !servable(*wait->blob, wait->range);
  const bool cancelled = !fetched && fetched.error().code == Code::cancelled;
  // Who goes away does not stop what is under way.
  if (wait->charge && !fetched && !cancelled)
    wait->charge->failed(missing_bytes(
        *wait->blob, options_.strict ? ByteRange{0, wait->blob->identity().size} : wait->range));
  if (found_wrong && !cancelled) return go_on(std::move(wait));
  // A large file may take many deadlines: who waits for all of it gives up when nothing came in one.
  if (options_.strict && !fetched && fetched.error().code == Code::timed_out &&
      count_missing(*wait->blob) < wait->missing)
    return go_on(std::move(wait));
  const int most = options_.strict ? kMostWholeFetches : kMostFetches;
  if (fetched && !servable(*wait->blob, wait->range) && ++wait->fetches < most)
    return go_on(std::move(wait));
  if (options_.strict && fetched && !servable(*wait->blob, wait->range))
    fetched = fail(Code::no_space, "its bytes cannot be kept, and must be there as a whole to be verified");
  finish(wait, std::move(fetched));
}

// Who asked may be gone as soon as it has its answer: that is the last thing here.
void BlobReader::finish(const std::shared_ptr<Wait>& wait, Result<void> ready) {
  Result<std::vector<std::byte>> bytes = ready ? read_now(*wait->blob, wait->range) : fail(ready);
  // Between the last look and the read it was found wrong, or went from a memory that is short: others' bytes came.
  if (ready && !bytes && !servable(*wait->blob, wait->range) &&
      (wait->blob->superseded() || ++wait->fetches < kMostFetches))
    return go_on(wait);
  metrics_.add(Metric::reads_waiting, -1);
  if (wait->charge) wait->charge->begun(0);  // where nothing was fetched at all
  if (!bytes && bytes.error().code != Code::cancelled)
    bytes = fail(as_read_error(std::move(bytes.error()).during(catalog_.describe(wait->node))));
  if (!bytes && bytes.error().code == Code::timed_out) note_given_up(*wait, bytes.error());
  wait->done(std::move(bytes));
}

}  // namespace hffs::fs
