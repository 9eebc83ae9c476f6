// SPDX-License-Identifier: Apache-2.0
//
// Which blobs go. Threads: a pure function.
#pragma once

#include <cstdint>
#include <vector>

namespace hffs {

struct Candidate {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
  std::int64_t last_open = 0;
  bool open = false;
  bool pinned = false;
  bool only_copy = false;
  bool ordered = false;  // goes, however much is wanted
};

struct Victims {
  std::vector<std::uint64_t> numbers;
  std::uint64_t bytes = 0;
  std::uint64_t open_bytes = 0, pinned_bytes = 0, only_copy_bytes = 0;  // ordered, and stay
};

// What is ordered, and then those that were open longest ago, until `wanted` bytes go in all.
Victims choose_victims(std::vector<Candidate> candidates, std::uint64_t wanted);

}  // namespace hffs
