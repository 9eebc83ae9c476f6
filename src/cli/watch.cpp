// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "bars.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kEvery{1};
// The command's end is not noticed meanwhile.
constexpr std::chrono::milliseconds kShortAnswer{500};
// Shorter waits are nobody's business.
constexpr std::uint64_t kWorthTelling = 1'000;
// The rate is a mean over this; a file that has not grown for kSilence is stalled.
constexpr std::chrono::seconds kMeanOver{10}, kSilence{3};

std::uint64_t number_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

std::vector<pid_t> list_numbers(const std::string& directory) {
  std::vector<pid_t> numbers;
  std::error_code error;
  for (std::filesystem::directory_iterator item(directory, error), end; !error && item != end; item.increment(error)) {
    const std::string name = item->path().filename();
    pid_t number = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc()) numbers.push_back(number);
  }
  return numbers;
}

}  // namespace

void collect_threads(pid_t process, std::set<pid_t>& threads) {
  const std::string tasks = fmt::format("/proc/{}/task", process);
  for (const pid_t thread : list_numbers(tasks)) {
    threads.insert(thread);
    std::ifstream file(fmt::format("{}/{}/children", tasks, thread));
    for (pid_t child = 0; file >> child;) collect_threads(child, threads);
  }
}

Watch::Watch(DaemonName where, bool show)
    : where_(std::move(where)), show_(show), terminal_(::isatty(STDERR_FILENO) == 1), began_(std::time(nullptr)) {}

Result<json> Watch::ask_activity(const char* part) {
  json all = json::array(), from = 0;
  while (!from.is_null()) {
    auto page = ask(where_, {{"command", "activity"}, {"from", from}}, kShortAnswer);
    if (!page) {
      // An older daemon.
      if (page.error().code == Code::invalid) knows_ = false;
      return page;
    }
    if (const auto items = page->find(part); items != page->end() && items->is_array())
      for (json& item : *items) all.push_back(std::move(item));
    from = page->value("next", json());
  }
  return all;
}

void Watch::look(pid_t child) {
  collect_threads(child, threads_);
  // Those whose parents have gone: they are ours now.
  collect_threads(::getpid(), threads_);
  const auto now = std::chrono::steady_clock::now();
  if (!show_ || !knows_ || now - asked_ < kEvery) return;
  asked_ = now;
  if (const auto readers = ask_activity("readers")) show(*readers);
}

// The line is about the one that has waited longest.
void Watch::show(const json& readers) {
  const json* longest = nullptr;
  for (const json& reader : readers) {
    if (!is_ours(static_cast<pid_t>(number_at(reader, "pid")))) continue;
    const auto waits = number_at(reader, "waiting_ms");
    if (waits >= kWorthTelling && (longest == nullptr || waits > number_at(*longest, "waiting_ms"))) longest = &reader;
  }
  if (longest == nullptr)
    clear();
  else
    write(words_for(*longest));
}

std::string Watch::words_for(const json& reader) {
  const std::string repo = text_in(reader, "repo");
  const std::string what = repo.empty() ? text_in(reader, "path") : fmt::format("{} of {}", text_in(reader, "path"), repo);
  const std::uint64_t size = number_at(reader, "size"), here = number_at(reader, "here");
  const auto now = std::chrono::steady_clock::now();
  auto& samples = samples_[what];
  samples.push_back({now, here});
  while (samples.size() > 2 && now - samples[1].time >= kMeanOver) samples.pop_front();

  std::string line = fmt::format("waits for {}: {} of {} here", what, bytes_text(here), bytes_text(size));
  const auto grew = std::ranges::find(samples, here, &Sample::here)->time;
  const auto silent = std::chrono::duration_cast<std::chrono::seconds>(now - grew);
  if (silent >= kSilence) return line + why_stalled(silent);
  const std::chrono::duration<double> span = now - samples.front().time;
  const std::uint64_t came = here - std::min(here, samples.front().here);
  if (span.count() <= 0 || came == 0) return line;
  const double rate = static_cast<double>(came) / span.count();
  line += fmt::format(", {}/s", bytes_text(static_cast<std::uint64_t>(rate)));
  if (size > here)
    line += fmt::format(", {} left", duration_text(static_cast<std::uint64_t>(static_cast<double>(size - here) / rate)));
  return line;
}

std::string Watch::why_stalled(std::chrono::seconds silent) const {
  std::string line = fmt::format(", stalled for {} s", silent.count());
  const auto status = ask(where_, {{"command", "status"}}, kShortAnswer);
  if (!status) return fmt::format("{}: {}", line, status.error().message);
  for (const json& endpoint : status->at("endpoints"))
    if (!endpoint.at("up").get<bool>())
      line += fmt::format(": {} is down: {}", text_in(endpoint, "endpoint"), text_in(endpoint, "last_error"));
  return line;
}

void Watch::write(const std::string& line) {
  if (!terminal_) {
    fmt::print(stderr, "hffs: {}\n", line);
    return;
  }
  const std::size_t columns = std::max<std::size_t>(terminal_size(STDERR_FILENO).first, 17);
  // A line that is broken by the terminal could not be written over.
  fmt::print(stderr, "\r\033[Khffs: {}", cut(line, columns - 7));
  std::fflush(stderr);
  written_ = true;
}

void Watch::clear() {
  if (!written_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  written_ = false;
}

void Watch::print_failures() {
  clear();
  const auto failures = ask_activity("failures");
  if (!failures) return;
  std::set<std::string> told;
  for (const json& each : *failures) {
    if (!is_ours(static_cast<pid_t>(number_at(each, "pid")))) continue;
    // A number of before may have been somebody else's.
    if (each.value("when", std::int64_t{0}) < began_ - 1) continue;
    const std::string remedy = text_in(each, "remedy");
    const std::string line = fmt::format("{} {}: {}{}{}", text_in(each, "operation"), text_in(each, "what"),
                                         text_in(each, "message"), remedy.empty() ? "" : "; ", remedy);
    if (told.insert(line).second) fmt::print(stderr, "hffs: {}\n", line);
  }
}

}  // namespace hffs::cli
