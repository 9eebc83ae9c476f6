// SPDX-License-Identifier: Apache-2.0
#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr std::array<MetricInfo, static_cast<std::size_t>(Metric::count_)> kMetrics{{
    {"api_requests", "requests", "metadata calls sent to an endpoint"},
    {"content_requests", "requests", "range requests sent"},
    {"content_bytes", "bytes", "content received from origins"},
    {"folder_bytes", "bytes", "content read from folders"},
    {"requests_failed", "requests", "requests that ended in an error"},
    {"requests_retried", "requests", "requests that were sent again"},
    {"fuse_lookups", "operations", "LOOKUPs that reached the daemon"},
    {"fuse_reads", "operations", "READs that reached the daemon"},
    {"fuse_read_bytes", "bytes", "bytes that these READs returned"},
    {"reads_parked", "operations", "READs that had to wait for bytes"},
    {"reads_waiting", "operations", "READs that wait for bytes now"},
    {"blocks_ahead", "blocks", "blocks asked for before a reader asked for them"},
    {"blocks_written", "blocks", "blocks written to data files"},
    {"blocks_claimed", "blocks", "blocks made durable and claimed by the index"},
    {"blobs_verified", "blobs", "blobs whose whole content was found right"},
    {"blobs_quarantined", "blobs", "blobs whose content was found wrong"},
    {"blobs_lost", "blobs", "blobs whose file was gone or too short, to be fetched again"},
    {"blobs_evicted", "blobs", "blobs that went to make room"},
    {"passthrough_opens", "operations", "opens that the kernel serves by itself"},
    {"overlay_nodes", "nodes", "files and directories that clients wrote, now"},
}};

}  // namespace

const MetricInfo& info(Metric metric) { return kMetrics[static_cast<std::size_t>(metric)]; }

}  // namespace hffs
