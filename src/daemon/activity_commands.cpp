// SPDX-License-Identifier: Apache-2.0
#include "activity_commands.h"

#include <algorithm>
#include <map>

#include "explanation.h"
#include "request.h"

namespace hffs {
namespace {

using nlohmann::json;

constexpr std::size_t kMostReaders = 500, kMostFailures = 100;

// A process's threads read together.
std::vector<Activity::Reader> by_process(const std::vector<Activity::Reader>& readers) {
  std::map<std::pair<pid_t, std::uint64_t>, Activity::Reader> found;
  for (const Activity::Reader& each : readers) {
    auto [reader, first] = found.try_emplace({each.process, each.blob.blob_number()}, each);
    if (first) continue;
    Activity::Reader& all = reader->second;
    all.opens += each.opens;
    all.reads += each.reads;
    all.bytes += each.bytes;
    if (each.idle < all.idle) all.passthrough = each.passthrough;
    all.idle = std::min(all.idle, each.idle);
    if (each.waiting) all.waiting = std::max(all.waiting.value_or(std::chrono::milliseconds{0}), *each.waiting);
  }
  std::vector<Activity::Reader> list;
  for (auto& [key, reader] : found) list.push_back(reader);
  std::ranges::sort(list, [](const Activity::Reader& one, const Activity::Reader& other) {
    const auto waits = [](const Activity::Reader& reader) { return reader.waiting.value_or(std::chrono::milliseconds{-1}); };
    return waits(one) != waits(other) ? waits(one) > waits(other) : one.idle < other.idle;
  });
  return list;
}

}  // namespace

json ActivityCommands::activity(const Peer& peer) const {
  const Viewer viewer{peer, *parts_};
  json readers = json::array();
  for (const Activity::Reader& all : by_process(parts_->activity.readers())) {
    if (!viewer.hears_of(all.uid) || readers.size() >= kMostReaders) continue;
    json reader = viewer.place_of(all.blob);
    const auto blob = parts_->store.blob(all.blob.blob_number());
    reader.update({{"pid", all.process},
                   {"uid", all.uid},
                   {"comm", program_of(all.process)},
                   {"size", blob ? blob->size : 0},
                   {"here", blob ? (blob->verified ? blob->size : blob->bytes_here) : 0},
                   {"mode", all.passthrough ? "passthrough" : blob && blob->verified ? "page cache" : "fetched"},
                   {"opens", all.opens},
                   {"reads", all.reads},
                   {"bytes", all.bytes},
                   {"idle_ms", all.idle.count()},
                   {"waiting_ms", all.waiting ? json(all.waiting->count()) : json()}});
    readers.push_back(std::move(reader));
  }
  return {{"readers", std::move(readers)}, {"failures", failures(peer)}};
}

json ActivityCommands::failures(const Peer& peer) const {
  const Viewer viewer{peer, *parts_};
  json failures = json::array();
  for (const Activity::Failure& failure : parts_->activity.failures())
    if (viewer.hears_of(failure.uid) && failures.size() < kMostFailures)
      failures.push_back(viewer.tell(failure));
  return failures;
}

void ActivityCommands::explain(const Peer& peer, const json& request, Done<json> done) const {
  auto path = text_of(request, "path", std::nullopt);
  if (!path) return done(fail(path));
  Explanation::begin(parts_, peer, std::move(*path), std::move(done));
}

}  // namespace hffs
