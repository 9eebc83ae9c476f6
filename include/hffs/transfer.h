// SPDX-License-Identifier: Apache-2.0
//
// TransferEngine: brings ranges of blobs from an origin into the store, each block once however many
// wait for it. Here, and only here, hub and store meet.
//
// Threads: any; nothing blocks. A waiter hears exactly once, on the network or a store thread, with
// no lock held. Nobody holds a lock across a fetch.
//
// Who wants bytes owns the deadline: transient failures are retried with back-off, resuming behind
// the last byte that arrived, until `read_deadline` has passed since the waiter began. A
// permanent refusal (denied, not_found, corrupt answer for the pinned commit) by every source ends
// at once.
//
// Slots are shared by blob, so that stalled blobs hold up nobody who reads another. The next free
// one goes to the blob that has the fewest requests under way; the last quarter of them only to
// blobs that have none. Who waits for a slot longer than `slot_patience` takes one from the blob
// that has most, at least two more than his own, or, having none, from a request that is silent:
// that one is queued again, and goes on behind its last byte.
//
// How many requests run for bytes that nobody waits for is found out: as many as bring more, and
// fewer when the origin begins to punish that. A request that is silent while others are served
// is begun anew behind its last byte.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"

namespace hffs {

struct TransferOptions {
  std::chrono::milliseconds read_deadline{15 * 60 * 1'000};
  std::chrono::milliseconds retry_first{250};   // back-off: doubles …
  std::chrono::milliseconds retry_most{4'000};  // … up to this; a healed origin is seen within 5 s
  // A request covers at most this many consecutive missing blocks.
  BlockIndex blocks_per_request = 8;
  // Bytes held between the network and the disk; arriving data is paused beyond it.
  std::uint64_t buffer_bytes = std::uint64_t{32} << 20;
  // Slots: at most what the origin has connections for, or requests would wait there in line.
  int requests_in_flight = 20;
  std::chrono::milliseconds slot_patience{1'000};
  // Nobody's bytes: at first this many at once, never fewer than the least if the origin serves them
  // better, at most three quarters of the slots.
  int first_ahead = 8, least_ahead = 4;
  // A request that hears nothing while others do is begun anew after so long, after twice as long if
  // nobody does.
  std::chrono::milliseconds stall_patience{2'000};
  // A blob whose bytes were wrong this often is not fetched again for a minute (EIO); from then on
  // it is counted anew.
  int corrupt_limit = 3;
};

class TransferEngine {
 public:
  static std::unique_ptr<TransferEngine> create(TransferOptions options, Origin& origin,
                                                Store& store, const Clock& clock,
                                                Metrics& metrics);
  // Waiters still open hear Code::cancelled.
  virtual ~TransferEngine() = default;

  // Completes when every block that `range` touches is readable in `blob`, or with the error that
  // stands in the way. Asking `stop` to stop completes the waiter with Code::cancelled at once;
  // a block that nobody waits for any more is still finished if its request is under way.
  // `sources` (at least one) are places of the same content: who refuses for good gives way to the
  // next, and is asked last for some minutes.
  // Returns how many bytes are fetched for this call; the others are on their way for somebody else.
  virtual std::uint64_t fetch(std::shared_ptr<Blob> blob, std::vector<FileSource> sources,
                              ByteRange range, std::stop_token stop, Done<void> done) = 0;

  // The same for bytes that nobody waits for yet. It takes a slot only while three quarters are
  // not taken, after all who wait, and is given up at the first failure; who then wants the
  // bytes asks for them himself. A reader that comes to wait for one of its blocks moves what is
  // left of it, from that block on, before the others.
  virtual std::uint64_t fetch_ahead(std::shared_ptr<Blob> blob, std::vector<FileSource> sources,
                                    ByteRange range, Done<void> done) = 0;

  // The blob was found to have wrong bytes (from Store::on_incarnation); counts to corrupt_limit.
  virtual void note_corrupt(std::uint64_t blob_number) = 0;

  struct Snapshot {
    std::size_t waiters = 0;
    std::size_t requests = 0;
    std::uint64_t buffered_bytes = 0;
  };
  virtual Snapshot snapshot() const = 0;
};

}  // namespace hffs
