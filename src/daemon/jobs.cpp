// SPDX-License-Identifier: Apache-2.0
#include "jobs.h"

#include <algorithm>

#include "hffs/telemetry.h"
#include "request.h"

namespace hffs {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kLeft{15}, kLookAround{1};
// Of each list in one answer: far below what a line may hold.
constexpr std::size_t kPage = 200;

}  // namespace

Jobs::Jobs(std::string name)
    : name_(std::move(name)), watcher_([this](std::stop_token stop) { watch(stop); }) {}

bool Jobs::Last::works() {
  if (job && !report) report = job->report();
  return job && !report;
}

void Jobs::watch(const std::stop_token& stop) {
  std::mutex mutex;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      wake_.wait_for(lock, stop, kLookAround, [] { return false; });
    }
    // Its end may take a while, and nobody waits for it with the lock.
    std::unique_ptr<Job> left;
    if (auto last = last_.lock();
        last->works() && std::chrono::steady_clock::now() - last->looked_at > kLeft)
      left = std::move(last->job);
    if (left) log(Level::info, name_, "stopped: nobody asks how it goes any more");
  }
}

Result<json> Jobs::start(const std::function<Result<std::unique_ptr<Job>>()>& make) {
  auto last = last_.lock();
  if (last->works())
    return fail(Code::busy, "another {} is under way; wait for its end", name_);
  last->job.reset();
  last->report.reset();
  auto job = make();
  if (!job) return fail(job);
  last->job = std::move(*job);
  last->looked_at = std::chrono::steady_clock::now();
  return json{{"job", ++last->number}};
}

Result<json> Jobs::look(const json& request) {
  const auto number = number_of(request, "job");
  if (!number) return fail(Error(number.error()));
  const auto from = number_of(request, "from");
  if (!from) return fail(Error(from.error()));
  auto last = last_.lock();
  if (!last->job || *number != last->number)
    return fail(Code::not_found, "there is no such {}, or it was stopped", name_);
  last->looked_at = std::chrono::steady_clock::now();
  const bool works = last->works();
  if (!works && !*last->report) return fail(Error(last->report->error()));
  json answer = last->job->progress();
  answer["running"] = works;
  if (works) return answer;
  bool more = false;
  for (const auto& [name, value] : (*last->report)->items()) {
    if (!value.is_array()) {
      answer[name] = value;
      continue;
    }
    const std::size_t begin = std::min<std::size_t>(*from, value.size());
    const std::size_t end = std::min(begin + kPage, value.size());
    answer[name] = json(value.begin() + static_cast<std::ptrdiff_t>(begin),
                        value.begin() + static_cast<std::ptrdiff_t>(end));
    if (begin == end) answer[name] = json::array();
    more |= end < value.size();
  }
  answer["next"] = more ? json(*from + kPage) : json();
  return answer;
}

}  // namespace hffs
