// SPDX-License-Identifier: Apache-2.0
//
// What Store::usage() tells, kept as counters. A write transaction collects a delta that is applied
// when it has committed, so that an aborted or repeated body counts once. Threads: any.
#pragma once

#include <atomic>
#include <cstdint>

namespace hffs {

struct UsageDelta {
  std::int64_t blobs = 0;
  std::int64_t verified_blobs = 0;
  std::int64_t bytes = 0;
  std::int64_t claimed_blocks = 0;
};

struct UsageCounters {
  std::atomic<std::int64_t> blobs{0};
  std::atomic<std::int64_t> verified_blobs{0};
  std::atomic<std::int64_t> bytes{0};
  std::atomic<std::int64_t> unclaimed_bytes{0};
  // What is on the disk, claimed or not, and what has room reserved there: never above the limit.
  std::atomic<std::int64_t> held_bytes{0};
  std::atomic<std::int64_t> unlinked_bytes{0};  // in open files without a name

  void apply(const UsageDelta& delta) {
    blobs.fetch_add(delta.blobs, std::memory_order_relaxed);
    verified_blobs.fetch_add(delta.verified_blobs, std::memory_order_relaxed);
    bytes.fetch_add(delta.bytes, std::memory_order_relaxed);
  }
};

}  // namespace hffs
