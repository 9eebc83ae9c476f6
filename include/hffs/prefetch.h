// SPDX-License-Identifier: Apache-2.0
//
// Prefetcher: guesses from what readers do which bytes they want next, and has them fetched ahead.
// It understands model files: a header read alone pulls no weights, one tensor pulls that tensor,
// and once weights are really being read the rest of the file and the next shards follow. It never
// delays a reader, and what it asks for gives way to what readers wait for (transfer.h).
//
// Threads: any; calls note what happened and return. One thread of its own does the rest; it may
// block on the local disk.
#pragma once

#include <cstdint>
#include <memory>

#include "hffs/budget.h"
#include "hffs/bytes.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/hub.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"
#include "hffs/transfer.h"

namespace hffs {

enum class PrefetchPolicy : std::uint8_t {
  off,       // only what is read, in whole blocks
  adaptive,  // as above
  file,      // the whole file, once it is read
  snapshot,  // the whole snapshot, once one of its files is read
};

struct PrefetchOptions {
  PrefetchPolicy policy = PrefetchPolicy::adaptive;
  // Of one file, asked for and not here yet.
  std::uint64_t bytes_ahead = std::uint64_t{128} << 20;
  // Adaptive: nobody has read of a snapshot for so long, and its files are filled no further.
  std::chrono::seconds patience{15};
  // Of who reads: what is fetched ahead is taken from his. Outlives this; none: nobody's is.
  Budget* budget = nullptr;
};

class Prefetcher {
 public:
  static std::unique_ptr<Prefetcher> create(PrefetchOptions options, const Origin& origin,
                                            Catalog& catalog, Store& store,
                                            TransferEngine& transfer, const Clock& clock,
                                            Metrics& metrics);
  virtual ~Prefetcher() = default;

  // A user has opened a blob that is not wholly here.
  virtual void opened(const std::shared_ptr<Blob>& blob, uid_t user) = 0;
  // A user asked for bytes of one, here or not.
  virtual void read(const std::shared_ptr<Blob>& blob, ByteRange range, uid_t user) = 0;
};

}  // namespace hffs
