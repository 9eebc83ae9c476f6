// SPDX-License-Identifier: Apache-2.0
//
// A clock that a test turns. Threads: any.
#pragma once

#include <atomic>

#include "hffs/clock.h"

namespace hffs::test {

class ManualClock final : public Clock {
 public:
  Instant now() const override { return Instant(std::chrono::milliseconds(time_.load())); }
  WallTime wall() const override { return {}; }
  void advance(std::chrono::milliseconds by) { time_ += by.count(); }

 private:
  std::atomic<std::int64_t> time_ = 1'000'000;
};

}  // namespace hffs::test
