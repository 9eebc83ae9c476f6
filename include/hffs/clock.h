// SPDX-License-Identifier: Apache-2.0
//
// Clock: the only source of time, so that tests can turn it. Threads: any; nothing blocks.
#pragma once

#include <chrono>

namespace hffs {

using Instant = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::sys_seconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;    // monotonic; for deadlines and ages within this process
  virtual WallTime wall() const = 0;  // for what is stored or shown
};

// The machine's clocks.
const Clock& system_clock();

}  // namespace hffs
