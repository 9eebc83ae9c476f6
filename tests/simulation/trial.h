// SPDX-License-Identifier: Apache-2.0
//
// Trial: one seed's random sequence of steps; and simulate(), which runs as many as HFFS_SEEDS says.
//
// All that happens follows from the seed: each step has dice of its own, so that leaving one out
// (HFFS_SKIP) does not change what the others draw, and a failing sequence can be made shorter.
//
// Threads: a Trial may be told of a violation by any thread; the rest belongs to the test.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "dice.h"

namespace hffs::test {

class Trial {
 public:
  Trial(std::uint64_t seed, int steps, std::set<int> skipped)
      : seed_(seed), steps_(steps), skipped_(std::move(skipped)) {}

  std::uint64_t seed() const { return seed_; }
  // Dice for what has this name and number, of this seed.
  Dice dice(std::uint64_t name, std::uint64_t number = 0) const { return Dice{seed_, name, number}; }

  // Calls `step` with dice of its own for each step, until something is wrong. False: something was.
  bool each_step(const std::function<void(Dice&)>& step);
  int step() const { return step_; }
  int steps() const { return steps_; }

  // A line of the trace. Text that costs something: only if tracing().
  template <class... Args>
  void note(fmt::format_string<Args...> text, Args&&... args) {
    if (tracing_) add(fmt::format(text, std::forward<Args>(args)...));
  }
  void trace() { tracing_ = true; }
  bool tracing() const { return tracing_; }

  // The first thing that is wrong ends the run: "invariant 5: …".
  template <class... Args>
  bool check(bool right, fmt::format_string<Args...> text, Args&&... args) {
    if (!right) violate(fmt::format(text, std::forward<Args>(args)...));
    return right;
  }
  void violate(std::string what);
  bool failed() const { return failed_; }
  std::string violation() const;
  int failed_at() const { return failed_at_; }
  std::vector<std::string> lines() const;

 private:
  void add(std::string line);

  const std::uint64_t seed_;
  const int steps_;
  const std::set<int> skipped_;
  std::atomic<int> step_ = -1;
  int failed_at_ = 0;
  bool tracing_ = false;
  std::atomic<bool> failed_ = false;
  mutable std::mutex mutex_;
  std::string violation_;
  std::vector<std::string> lines_;
};

struct Simulation {
  std::uint64_t seeds;  // how many where HFFS_SEEDS says nothing
  int steps;            // of each, where HFFS_STEPS says nothing
  std::function<void(Trial&)> body;
  // Threads take part: what is seen once may not be seen again, so every run keeps its trace.
  bool threads = false;
};

// Runs the seeds of HFFS_SEEDS ("7", "1..10000"), and fails the test with the shortest sequence that it finds in a
// few seconds for the first seed that fails. A seed that does not end within five minutes aborts the program.
void simulate(const Simulation& simulation);

}  // namespace hffs::test
