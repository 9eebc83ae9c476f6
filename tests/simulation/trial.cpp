// SPDX-License-Identifier: Apache-2.0
#include "trial.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "hffs/telemetry.h"

namespace hffs::test {
namespace {

using std::chrono::steady_clock;

constexpr unsigned kMostSeconds = 300;         // for one seed, of which a second is usual: machines may be busy
constexpr std::chrono::seconds kShrinking{8};  // to find a shorter sequence
constexpr int kTries = 20;                     // where threads take part
constexpr int kMostFailures = 5;
constexpr std::size_t kTracedLines = 400;

// What a signal handler may write: the command that runs the seed under way again.
char its_command[512];

void say_seed_and_end(int signal) {
  constexpr char kWords[] = "\nthe seed under way: ";
  (void)!write(STDERR_FILENO, kWords, sizeof kWords - 1);
  (void)!write(STDERR_FILENO, its_command, std::strlen(its_command));
  (void)!write(STDERR_FILENO, signal == SIGALRM ? "  (does not end)\n" : "\n", signal == SIGALRM ? 18 : 1);
  ::signal(signal, SIG_DFL);
  raise(signal == SIGALRM ? SIGABRT : signal);
}

std::string program() {
  std::string path(4096, '\0');
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  const auto folder = path.rfind("/tests/simulation/");
  const auto build = folder == std::string::npos ? folder : path.rfind('/', folder - 1);
  return build == std::string::npos ? path : path.substr(build + 1);
}

std::string command(std::uint64_t seed, int steps, const std::set<int>& skipped) {
  std::string words = fmt::format("HFFS_SEEDS={} HFFS_STEPS={}", seed, steps);
  if (!skipped.empty()) words += fmt::format(" HFFS_SKIP={}", fmt::join(skipped, ","));
  return fmt::format("{} {} --gtest_filter={}.{}", words, program(),
                     testing::UnitTest::GetInstance()->current_test_info()->test_suite_name(),
                     testing::UnitTest::GetInstance()->current_test_info()->name());
}

std::unique_ptr<Trial> run(const Simulation& simulation, std::uint64_t seed, int steps,
                         const std::set<int>& skipped, bool traced) {
  auto one = std::make_unique<Trial>(seed, steps, skipped);
  if (traced || simulation.threads) one->trace();
  const std::string text = command(seed, steps, skipped);
  its_command[text.copy(its_command, sizeof its_command - 1)] = '\0';
  alarm(kMostSeconds);
  simulation.body(*one);
  alarm(0);
  return one;
}

// Leaves out steps, in ever smaller pieces, as long as something is wrong without them.
std::set<int> shrink(const Simulation& simulation, std::uint64_t seed, int steps, std::set<int> skipped) {
  const auto until = steady_clock::now() + kShrinking;
  for (int piece = std::max(1, steps / 2); piece > 0; piece /= 2) {
    for (int first = 0; first < steps; first += piece) {
      if (steady_clock::now() >= until) return skipped;
      std::set<int> more = skipped;
      for (int step = first; step < std::min(first + piece, steps); ++step) more.insert(step);
      if (more.size() == skipped.size()) continue;
      if (run(simulation, seed, steps, more, false)->failed()) skipped = std::move(more);
    }
  }
  return skipped;
}

void report(const Simulation& simulation, const Trial& failed, const std::set<int>& skipped) {
  const int steps = std::min(failed.steps(), failed.failed_at() + 1);
  const auto shorter = shrink(simulation, failed.seed(), steps, skipped);
  auto again = run(simulation, failed.seed(), steps, shorter, true);
  for (int i = 0; simulation.threads && i < kTries && !again->failed(); ++i)
    again = run(simulation, failed.seed(), steps, shorter, true);
  std::string text = fmt::format("seed {}, step {}: {}\n  {}\n", failed.seed(), failed.failed_at(),
                                 failed.violation(), command(failed.seed(), failed.steps(), skipped));
  if (!again->failed())
    text += "(the same steps did not fail a second time; this is what happened the first time)\n";
  else
    text += fmt::format("with fewer steps: {}\n  {}\n", again->violation(),
                        command(failed.seed(), steps, shorter));
  auto lines = again->failed() ? again->lines() : failed.lines();
  if (lines.size() > kTracedLines) {
    text += fmt::format("  … {} lines before\n", lines.size() - kTracedLines);
    lines.erase(lines.begin(), lines.end() - kTracedLines);
  }
  for (const auto& line : lines) text += "  " + line + "\n";
  ADD_FAILURE() << text;
}

std::optional<std::string> setting(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace

bool Trial::each_step(const std::function<void(Dice&)>& step) {
  for (int i = 0; i < steps_ && !failed_; ++i) {
    step_ = i;
    if (skipped_.contains(i)) continue;
    Dice its = dice(1, static_cast<std::uint64_t>(i));
    step(its);
  }
  if (!failed_) step_ = steps_;
  return !failed_;
}

void Trial::add(std::string line) {
  std::lock_guard lock(mutex_);
  lines_.push_back(fmt::format("{:4}  {}", step_.load(), line));
}

void Trial::violate(std::string what) {
  note("!!! {}", what);
  std::lock_guard lock(mutex_);
  if (failed_) return;
  violation_ = std::move(what);
  failed_at_ = step_;
  failed_ = true;
}

std::string Trial::violation() const {
  std::lock_guard lock(mutex_);
  return violation_;
}

std::vector<std::string> Trial::lines() const {
  std::lock_guard lock(mutex_);
  return lines_;
}

void simulate(const Simulation& simulation) {
  // Blocks are allocated again and again: not from the kernel each time.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  static const bool started = (start_log(setting("HFFS_LOG") ? Level::debug : Level::error,
                                         setting("HFFS_LOG").value_or("/dev/null")), true);
  (void)started;
  // What stores need of a disk they have in memory as well, and much faster.
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  for (const int signal : {SIGALRM, SIGSEGV, SIGABRT, SIGBUS}) ::signal(signal, say_seed_and_end);
  std::uint64_t first = 1, last = simulation.seeds;
  if (const auto seeds = setting("HFFS_SEEDS")) {
    first = last = std::stoull(*seeds);
    if (const auto dots = seeds->find(".."); dots != std::string::npos) last = std::stoull(seeds->substr(dots + 2));
  }
  const int steps = std::stoi(setting("HFFS_STEPS").value_or(std::to_string(simulation.steps)));
  std::set<int> skipped;
  for (std::string rest = setting("HFFS_SKIP").value_or(""); !rest.empty();) {
    skipped.insert(std::stoi(rest));
    const auto comma = rest.find(',');
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  const auto began = steady_clock::now();
  int failures = 0;
  std::uint64_t seed = first;
  for (; seed <= last && failures < kMostFailures; ++seed) {
    const auto one = run(simulation, seed, steps, skipped, setting("HFFS_TRACE").has_value());
    if (setting("HFFS_TRACE"))
      for (const auto& line : one->lines()) fmt::print("  {}\n", line);
    if (!one->failed()) continue;
    if (failures++ == 0)
      report(simulation, *one, skipped);
    else
      ADD_FAILURE() << fmt::format("seed {}, step {}: {}\n  {}", seed, one->failed_at(), one->violation(),
                                   command(seed, steps, skipped));
  }
  const double seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  fmt::print("{} seeds from {} in {:.1f} s, {:.0f} a minute; {} failed\n", seed - first, first, seconds,
             static_cast<double>(seed - first) * 60 / seconds, failures);
  for (const int signal : {SIGALRM, SIGSEGV, SIGABRT, SIGBUS}) ::signal(signal, SIG_DFL);
}

}  // namespace hffs::test
