// SPDX-License-Identifier: Apache-2.0
//
// IoThreads: the threads that may hang. Each job is watched by its beats; a thread that hangs stays
// behind when the owner goes, and ends by itself if ever its call returns.
// Threads: any; nothing here blocks, but for stop().
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace hffs::folder {

// What a job gets.
struct Io {
  std::stop_token stop;
  std::function<void()> beat;  // before each call that may hang
};

class IoThreads {
 public:
  using Job = std::move_only_function<void(const Io&)>;

  explicit IoThreads(int most);
  ~IoThreads();

  // Threads start as they are needed; one place has at most half of them, so that a file that hangs
  // does not take them all. After stop() the job is dropped.
  void run(std::string place, Job job);
  // Places of the jobs under way that have had no beat for so long, one for each.
  std::vector<std::string> silent(std::chrono::milliseconds patience) const;
  bool idle() const;
  // Drops what has not begun, and waits this long for the rest.
  void stop(std::chrono::milliseconds patience);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;
};

}  // namespace hffs::folder
