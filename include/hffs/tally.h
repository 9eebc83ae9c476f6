// SPDX-License-Identifier: Apache-2.0
//
// Tally: how much of something there was within the last hour or day. Threads: a value, one at a time; nothing blocks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "hffs/clock.h"

namespace hffs {

// Counts in equal parts of a span of time; a part falls out as a whole.
template <std::size_t kParts>
class Tally {
 public:
  explicit Tally(std::chrono::seconds part) : part_(part) {}
  void add(Instant now, std::uint64_t amount) {
    turn(now);
    counts_[at_ % kParts] += amount;
  }
  // From the newest on.
  void take_back(Instant now, std::uint64_t amount) {
    turn(now);
    for (std::size_t back = 0; back < kParts && amount > 0; ++back) {
      std::uint64_t& count = counts_[(at_ + kParts - back) % kParts];
      const std::uint64_t less = std::min(count, amount);
      count -= less;
      amount -= less;
    }
  }
  std::uint64_t sum(Instant now) {
    turn(now);
    std::uint64_t sum = 0;
    for (const std::uint64_t count : counts_) sum += count;
    return sum;
  }

 private:
  void turn(Instant now) {
    const auto to = static_cast<std::uint64_t>(now.time_since_epoch() / part_);
    if (to >= at_ + kParts) counts_ = {};
    for (; at_ < to && to < at_ + kParts; counts_[at_ % kParts] = 0) ++at_;
    at_ = std::max(at_, to);
  }
  const std::chrono::seconds part_;
  std::uint64_t at_ = 0;  // the number of the part that it is now
  std::array<std::uint64_t, kParts> counts_{};
};

}  // namespace hffs
