// SPDX-License-Identifier: Apache-2.0
#include "hffs/activity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace hffs {
namespace {

constexpr std::size_t kMostReadings = 4'096;
constexpr std::size_t kMostFailures = 256;
constexpr std::chrono::seconds kToldAgain{60};
// Of one user, within that time.
constexpr std::uint64_t kMostLines = 30;

std::chrono::milliseconds since(Instant then, Instant now) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - then);
}

}  // namespace

pid_t process_of(pid_t thread) {
  std::ifstream file(fmt::format("/proc/{}/status", thread));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("Tgid:")) return static_cast<pid_t>(std::atoi(line.c_str() + 5));
  return 0;
}

std::string program_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/comm", process));
  std::string name;
  std::getline(file, name);
  return name;
}

bool Activity::make_room(State& state) const {
  if (state.readings.size() < kMostReadings) return true;
  const Instant now = clock_.now();
  std::erase_if(state.readings,
                [&](const auto& item) { return item.second.begun.empty() && now - item.second.last > kQuiet; });
  if (state.readings.size() >= kMostReadings)
    std::erase_if(state.readings, [](const auto& item) { return item.second.begun.empty(); });
  // Who waits is not forgotten.
  return state.readings.size() < kMostReadings;
}

void Activity::change(const Caller& caller, NodeId blob, const std::function<void(State::Reading&)>& act) {
  const std::tuple key{caller.pid, caller.uid, blob.value};
  auto state = state_.lock();
  auto found = state->readings.find(key);
  if (found == state->readings.end()) {
    const auto same = state->readings.lower_bound({caller.pid, caller.uid, 0});
    const bool is_known = same != state->readings.end() && std::get<0>(same->first) == caller.pid &&
                          std::get<1>(same->first) == caller.uid;
    pid_t process = is_known ? same->second.reader.process : caller.pid;
    if (!is_known && caller.pid > 0) {
      // A thread may be gone when somebody asks. Nobody else waits for /proc.
      state.unlock();
      if (const pid_t its = process_of(caller.pid); its != 0) process = its;
      state.relock();
    }
    if (!make_room(*state)) return;
    found = state->readings.try_emplace(key).first;
    found->second.reader.process = process;
    found->second.reader.uid = caller.uid;
    found->second.reader.blob = blob;
  }
  found->second.last = clock_.now();
  act(found->second);
}

void Activity::opened(const Caller& caller, NodeId blob, bool passthrough) {
  change(caller, blob, [&](State::Reading& reading) {
    ++reading.reader.opens;
    reading.reader.passthrough = passthrough;
  });
}

void Activity::began(const Caller& caller, NodeId blob) {
  change(caller, blob, [](State::Reading& reading) {
    ++reading.reader.reads;
    reading.begun.push_back(reading.last);
  });
}

// Which of several was answered does not matter but for the oldest: they begin and end in about that order.
void Activity::ended(const Caller& caller, NodeId blob, std::uint64_t bytes) {
  change(caller, blob, [bytes](State::Reading& reading) {
    reading.reader.bytes += bytes;
    if (!reading.begun.empty()) reading.begun.pop_front();
  });
}

bool Activity::failed(const Caller& caller, NodeId node, std::string_view operation, const Error& error) {
  const Instant now = clock_.now();
  const pid_t process = process_of(caller.pid);
  const std::string program = program_of(process);
  auto state = state_.lock();
  auto& all = state->failures;
  const auto same = std::ranges::find_if(all, [&](const auto& item) {
    const Failure& failure = item.first;
    return failure.uid == caller.uid && failure.node == node && failure.error.code == error.code &&
           failure.operation == operation;
  });
  std::pair<Failure, Instant> failure{Failure{.when = clock_.wall(),
                                              .process = process != 0 ? process : caller.pid,
                                              .uid = caller.uid,
                                              .program = program,
                                              .operation = std::string(operation),
                                              .node = node,
                                              .error = error},
                                      now};
  bool news = true;
  if (same != all.end()) {
    failure.first.count = same->first.count + 1;
    news = now - same->second >= kToldAgain;
    if (!news) failure.second = same->second;
    all.erase(same);
  }
  if (all.size() >= kMostFailures) all.pop_front();
  all.push_back(std::move(failure));
  return news;
}

Activity::Line Activity::take_line(uid_t user) {
  const Instant now = clock_.now();
  auto state = state_.lock();
  auto& all = state->lines;
  const auto is_over = [&](const State::Lines& lines) { return now - lines.since >= kToldAgain; };
  const auto [found, first] = all.try_emplace(user, State::Lines{.since = now});
  State::Lines& its = found->second;
  Line line;
  if (is_over(its)) {
    line.left_out = its.asked - std::min(its.asked, kMostLines);
    its = {.since = now};
  }
  ++its.asked;
  line.granted = its.asked <= kMostLines;
  line.last = its.asked == kMostLines;
  if (first && all.size() > kMostFailures)
    std::erase_if(all, [&](const auto& item) { return is_over(item.second) && item.second.asked <= kMostLines; });
  return line;
}

std::vector<Activity::Reader> Activity::readers() const {
  const Instant now = clock_.now();
  std::vector<Reader> readers;
  auto state = state_.lock();
  for (const auto& [key, reading] : state->readings) {
    if (reading.begun.empty() && now - reading.last > kQuiet) continue;
    Reader reader = reading.reader;
    reader.idle = since(reading.last, now);
    if (!reading.begun.empty()) reader.waiting = since(reading.begun.front(), now);
    readers.push_back(reader);
  }
  return readers;
}

std::vector<Activity::Failure> Activity::failures() const {
  std::vector<Failure> failures;
  auto state = state_.lock();
  for (const auto& item : state->failures) failures.insert(failures.begin(), item.first);
  return failures;
}

}  // namespace hffs
