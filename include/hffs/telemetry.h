// SPDX-License-Identifier: Apache-2.0
//
// Log lines and counters. A log line is an event: `component`, a short sentence, key=value fields;
// repo names may appear in it, tokens and URLs with signatures never (a Secret cannot be formatted,
// and hub code prints URLs without their query).
//
// Every metric is one row of the table in src/base/metrics.cpp: name, unit, help.
// Threads: any. Logging never fails and never blocks a read on the network; counters are relaxed
// atomics.
#pragma once

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace hffs {

enum class Level : std::uint8_t { debug, info, warn, error };

// Sets up the one process-wide sink (standard error, or `file` when not empty). Call once, from main,
// before threads start.
void start_log(Level least, const std::string& file);
void write_log(Level level, std::string_view component, std::string_view text);
bool log_enabled(Level level);

template <class... Args>
void log(Level level, std::string_view component, fmt::format_string<Args...> text,
         Args&&... args) {
  if (log_enabled(level)) write_log(level, component, fmt::format(text, std::forward<Args>(args)...));
}

enum class Metric : std::uint8_t {
  api_requests,         // metadata calls sent to an endpoint
  content_requests,     // range GETs sent
  content_bytes,        // bytes of content received
  folder_bytes,         // bytes of content read from folders
  requests_failed,      // any request that ended in an error
  requests_retried,
  fuse_lookups,
  fuse_reads,           // READs that reached the daemon
  fuse_read_bytes,
  reads_parked,         // READs that had to wait for bytes
  reads_waiting,        // gauge: parked now
  blocks_ahead,         // asked for before a reader did
  blocks_written,
  blocks_claimed,
  blobs_verified,
  blobs_quarantined,
  blobs_lost,           // whose file was gone or of another size
  blobs_evicted,
  passthrough_opens,
  overlay_nodes,        // gauge
  count_,               // not a metric
};

struct MetricInfo {
  std::string_view name, unit, help;
};
const MetricInfo& info(Metric metric);

class Metrics {
 public:
  void add(Metric metric, std::int64_t amount = 1) {
    values_[static_cast<std::size_t>(metric)].fetch_add(amount, std::memory_order_relaxed);
  }
  std::int64_t value(Metric metric) const {
    return values_[static_cast<std::size_t>(metric)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<std::int64_t>, static_cast<std::size_t>(Metric::count_)> values_{};
};

}  // namespace hffs
