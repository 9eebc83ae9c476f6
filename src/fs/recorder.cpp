// SPDX-License-Identifier: Apache-2.0
#include "hffs/recorder.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

#include "hffs/activity.h"

namespace hffs {
namespace {

constexpr std::size_t kMostRecordings = 64;
constexpr std::size_t kMostBlobs = 1'000'000;
constexpr int kMostAncestors = 512;
constexpr std::chrono::seconds kLook{1};

struct Process {
  pid_t parent = 0;
  std::uint64_t started = 0;
};

// proc(5), stat: the name may hold anything, and ends at the last bracket. A thread's parent is its
// process's.
std::optional<Process> find_process(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t end = text.rfind(')');
  if (end == text.npos) return {};
  std::istringstream fields(text.substr(end + 1));
  std::string state, skipped;
  Process process;
  fields >> state >> process.parent;
  for (int field = 5; field < 22; ++field) fields >> skipped;
  fields >> process.started;
  if (!fields) return {};
  return process;
}

}  // namespace

Result<std::uint64_t> Recorder::begin(pid_t root) {
  const auto process = root > 0 ? find_process(root) : std::nullopt;
  if (!process) return fail(Code::not_found, "there is no process {} to be seen from here", root);
  auto state = state_.lock();
  forget_dead(*state);
  if (state->recordings.size() >= kMostRecordings)
    return fail(Code::busy, "there are {} recordings already; try again when one has ended",
                kMostRecordings);
  const std::uint64_t number = state->next++;
  state->recordings[number] = {.root = root, .root_started = process->started, .walk = {}};
  active_ = true;
  return number;
}

// Those whose root has ended: nobody will ask for them, and everybody's lookups are slow meanwhile.
void Recorder::forget_dead(State& state) {
  std::erase_if(state.recordings, [](const auto& item) {
    const auto now = find_process(item.second.root);
    return !now || now->started != item.second.root_started;
  });
  state.looked = std::chrono::steady_clock::now();
  active_ = !state.recordings.empty();
}

Result<Walk> Recorder::end(std::uint64_t number, pid_t root) {
  auto state = state_.lock();
  const auto found = state->recordings.find(number);
  if (found == state->recordings.end() || found->second.root != root)
    return fail(Code::not_found, "there is no such recording; was hffs mounted anew meanwhile?");
  Walk walk = std::move(found->second.walk);
  state->recordings.erase(found);
  active_ = !state->recordings.empty();
  return walk;
}

std::uint64_t Recorder::find(pid_t caller) {
  pid_t pid = caller > 0 ? process_of(caller) : 0;
  for (int generation = 0; pid > 1 && generation < kMostAncestors; ++generation) {
    const auto process = find_process(pid);
    if (!process) return 0;
    {
      auto state = state_.lock();
      for (const auto& [number, recording] : state->recordings)
        if (recording.root == pid && recording.root_started == process->started) return number;
    }
    pid = process->parent;
  }
  auto state = state_.lock();
  if (std::chrono::steady_clock::now() - state->looked >= kLook) forget_dead(*state);
  return 0;
}

Walk* Recorder::walk_of(State& state, std::uint64_t recording) {
  const auto found = state.recordings.find(recording);
  return found == state.recordings.end() ? nullptr : &found->second.walk;
}

void Recorder::looked_up(std::uint64_t recording, NodeId parent, std::string_view name,
                         NodeId found) {
  auto state = state_.lock();
  Walk* walk = walk_of(*state, recording);
  if (walk == nullptr) return;
  if (found.kind() == NodeKind::repo)
    walk->repos.insert(static_cast<std::uint32_t>(found.payload()));
  else
    walk->names.emplace(parent, name, found);
}

void Recorder::read_ref(std::uint64_t recording, NodeId ref, const std::string& commit) {
  auto state = state_.lock();
  if (Walk* walk = walk_of(*state, recording)) walk->refs.emplace(ref, commit);
}

void Recorder::opened(std::uint64_t recording, NodeId blob) {
  auto state = state_.lock();
  Walk* walk = walk_of(*state, recording);
  if (walk != nullptr && walk->blobs.size() < kMostBlobs) walk->blobs.insert(blob.blob_number());
}

}  // namespace hffs
