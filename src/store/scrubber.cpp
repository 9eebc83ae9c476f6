// SPDX-License-Identifier: Apache-2.0
#include "scrubber.h"

#include <algorithm>
#include <cmath>

#include "blob_rows.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"
#include "rehash.h"
#include "store_thread.h"

namespace hffs {
namespace {

constexpr std::uint8_t kRowVersion = 1;
constexpr std::string_view kKey = "scrub";
constexpr std::size_t kMostRecent = 20;
// Between two looks at the clock, which may be set.
constexpr std::chrono::seconds kLook{30};
// Hashed together: a commit for each small file would be more work than the file.
constexpr std::uint64_t kStepBytes = std::uint64_t{64} << 20;
constexpr std::size_t kStepBlobs = 1'000;
// A file is read at this rate, so that a restart costs little of it, unless the period asks for more.
constexpr double kBytesPerSecond = 32 << 20;

// Every verified blob that has bytes, by number.
void visit_verified(const ReadTxn& txn, const std::function<void(BlobInfo)>& visit) {
  txn.scan(Table::blobs, {}, {}, [&](std::string_view key, std::string_view value) {
    const auto row = decode_blob(value);
    if (row && row->verified && row->size > 0) visit(to_info(Reader(key).key_u64(), *row));
    return true;
  });
}

WallTime to_time(std::int64_t seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

class OnDemand final : public Verification {
 public:
  OnDemand(Scrubber& scrubber, std::vector<BlobInfo> blobs)
      : scrubber_(scrubber), blobs_(std::move(blobs)) {
    Progress& progress = state_.lock()->progress;
    progress.files = blobs_.size();
    for (const BlobInfo& blob : blobs_) progress.bytes += blob.size;
    thread_ = std::jthread([this](std::stop_token stop) {
      pthread_setname_np(pthread_self(), "hffs-recheck");
      run(stop);
    });
  }
  Progress progress() const override { return state_.lock()->progress; }
  std::optional<std::vector<Finding>> result() const override {
    auto state = state_.lock();
    return state->ended ? std::optional(state->findings) : std::nullopt;
  }

 private:
  struct State {
    Progress progress;
    std::vector<Finding> findings;
    bool ended = false;
  };
  void run(const std::stop_token& stop) {
    stand_back();
    std::uint64_t bytes = 0;
    for (const BlobInfo& blob : blobs_) {
      if (stop.stop_requested()) break;
      auto finding = scrubber_.check(
          blob, stop, [&](std::uint64_t more) { state_.lock()->progress.bytes_done += more; });
      bytes += blob.size;
      auto state = state_.lock();
      ++state->progress.files_done;
      state->progress.bytes_done = bytes;  // also what could not be read
      if (finding) state->findings.push_back(std::move(*finding));
    }
    state_.lock()->ended = true;
  }

  Scrubber& scrubber_;
  const std::vector<BlobInfo> blobs_;
  mutable Guarded<State> state_;
  std::jthread thread_;
};

}  // namespace

std::string_view name_of(Finding::What what) {
  switch (what) {
    case Finding::What::wrong_bytes: return "wrong_bytes";
    case Finding::What::missing: return "missing";
    case Finding::What::unreadable: return "unreadable";
  }
  return "unknown";
}

ScrubRow ScrubRow::load(const ReadTxn& txn) {
  ScrubRow row;
  const auto bytes = txn.get(Table::meta, kKey);
  if (!bytes) return row;
  Reader reader(*bytes);
  const std::uint8_t version = reader.u8();
  row.next = reader.u64();
  row.due = reader.i64();
  row.began = reader.i64();
  row.ended = reader.i64();
  row.found = reader.u64();
  return version == kRowVersion && reader.complete() ? row : ScrubRow{};
}

void ScrubRow::store(WriteTxn& txn) const {
  txn.put(Table::meta, kKey,
          RecordWriter(kRowVersion).u64(next).i64(due).i64(began).i64(ended).u64(found));
}

Scrubber::Scrubber(Parts parts, ScrubOptions options) : parts_(parts), options_(options) {
  if (options_.period.count() == 0) return;
  thread_ = start_store_thread("hffs-scrub", [this, stop = stop_.get_token()] { run(stop); });
}

std::unique_ptr<Verification> Scrubber::verify(std::optional<std::vector<std::uint64_t>> blobs) {
  std::vector<BlobInfo> chosen;
  if (blobs) std::ranges::sort(*blobs);
  parts_.environment.read([&](const ReadTxn& txn) {
    visit_verified(txn, [&](BlobInfo blob) {
      if (!blobs || std::ranges::binary_search(*blobs, blob.number))
        chosen.push_back(std::move(blob));
    });
  });
  return std::make_unique<OnDemand>(*this, std::move(chosen));
}

std::optional<Finding> Scrubber::check(const BlobInfo& blob, const std::stop_token& stop,
                                       const std::function<void(std::uint64_t)>& tell) {
  const auto still = [&] {
    const auto now = parts_.blobs.find(blob.number);
    return now && now->incarnation == blob.incarnation;
  };
  if (!still()) return std::nullopt;
  const std::string path = parts_.directory.blob(blob.id);
  const auto look = [&] { return rehash(parts_.disk, path, blob.id.kind(), stop, tell); };
  auto hex = look();
  if (hex && *hex != blob.id.hex()) {
    // It may be the only copy, and a page of memory may be what is wrong: the disk is asked again.
    forget_pages(parts_.disk, path);
    hex = look();
  }
  if (hex && *hex == blob.id.hex()) return std::nullopt;
  if (!hex && hex.error().code == Code::cancelled) return std::nullopt;
  Finding finding{.blob = blob, .when = parts_.clock.wall()};
  if (hex) {
    finding.found = *hex;
    finding.reason = fmt::format("the hash of its bytes is {}", *hex);
  } else {
    finding.what = hex.error().code == Code::not_found ? Finding::What::missing
                                                       : Finding::What::unreadable;
    finding.reason = hex.error().message;
  }
  if (finding.what != Finding::What::unreadable) {
    auto put_aside = parts_.verifier.withdraw(blob.number, blob.incarnation,
                                              finding.what == Finding::What::missing);
    // Evicted, or found by somebody else, meanwhile.
    if (!put_aside && put_aside.error().code == Code::stale) return std::nullopt;
    if (!put_aside)
      finding.reason += fmt::format("; it cannot be put aside: {}", put_aside.error().message);
  } else if (!still()) {
    return std::nullopt;
  }
  log(Level::error, "store", "verified blob {} is damaged: {}", blob.id.hex(), finding.reason);
  auto recent = recent_.lock();
  recent->push_front(finding);
  if (recent->size() > kMostRecent) recent->pop_back();
  return finding;
}

Scrub::State Scrubber::state() const {
  State state{.period = options_.period};
  {
    auto recent = recent_.lock();
    state.recent.assign(recent->begin(), recent->end());
  }
  parts_.environment.read([&](const ReadTxn& txn) {
    const ScrubRow row = ScrubRow::load(txn);
    state.began = to_time(row.began);
    state.ended = to_time(row.ended);
    state.found = row.found;
    visit_verified(txn, [&](const BlobInfo& blob) {
      state.bytes += blob.size;
      if (blob.number < row.next) state.done_bytes += blob.size;
    });
  });
  return state;
}

void Scrubber::stop() {
  stop_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Scrubber::run(const std::stop_token& stop) {
  stand_back();
  ScrubRow row;
  parts_.environment.read([&](const ReadTxn& txn) { row = ScrubRow::load(txn); });
  while (!stop.stop_requested()) {
    const std::int64_t now = parts_.clock.wall().time_since_epoch().count();
    // A clock that was set back must not end it.
    row.due = std::min(row.due, now + options_.period.count());
    if (row.due > now) {
      const std::chrono::seconds left(row.due - now);
      wait_until(std::chrono::steady_clock::now() + std::min(left, kLook), stop);
      continue;
    }
    do_step(row, stop);
  }
}

void Scrubber::do_step(ScrubRow& row, const std::stop_token& stop) {
  const Step step = find_step(row.next);
  const auto period = static_cast<double>(options_.period.count());
  const double rate =
      std::max(kBytesPerSecond, 2 * static_cast<double>(step.all_bytes) / period);
  const std::int64_t began = parts_.clock.wall().time_since_epoch().count();
  if (row.next == 0) row.began = began;
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t bytes = 0;
  const auto pace = [&](std::uint64_t more) {
    bytes += more;
    const std::chrono::duration<double> due(static_cast<double>(bytes) / rate);
    wait_until(start + std::chrono::duration_cast<std::chrono::nanoseconds>(due), stop);
  };
  for (const BlobInfo& blob : step.blobs) {
    if (check(blob, stop, pace)) ++row.found;
    if (stop.stop_requested()) break;
    row.next = blob.number + 1;
  }
  const double share = step.all_bytes == 0 ? 1 : static_cast<double>(step.bytes) /
                                                     static_cast<double>(step.all_bytes);
  if (!stop.stop_requested()) {
    row.due = began + std::max<std::int64_t>(1, std::llround(period * share));
    if (step.last) {
      row.next = 0;
      row.ended = began;
    }
  }
  (void)parts_.index.write_and_wait([row](WriteTxn& txn) { row.store(txn); });
}

Scrubber::Step Scrubber::find_step(std::uint64_t next) const {
  Step step{.last = true};
  parts_.environment.read([&](const ReadTxn& txn) {
    visit_verified(txn, [&](BlobInfo blob) {
      step.all_bytes += blob.size;
      if (blob.number < next || !step.last) return;
      if (!step.blobs.empty() &&
          (step.bytes + blob.size > kStepBytes || step.blobs.size() >= kStepBlobs)) {
        step.last = false;
        return;
      }
      step.bytes += blob.size;
      step.blobs.push_back(std::move(blob));
    });
  });
  return step;
}

void Scrubber::wait_until(std::chrono::steady_clock::time_point when,
                          const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  wake_.wait_until(lock, stop, when, [] { return false; });
}

}  // namespace hffs
