// SPDX-License-Identifier: Apache-2.0
//
// The overlay's rows in the index, and the order in which they get there.
//
// Overlay changes are made in memory first; their rows are queued in the same order and committed
// behind, many in one commit. A crash of the machine may lose the last of them, never one from the middle;
// fsync waits. The end of the process loses none: they stand in the handover until they are committed.
//
// Threads: any. write() never blocks; wait(), ease() and go_on() do.
#pragma once

#include <condition_variable>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/guarded.h"
#include "hffs/handover.h"
#include "hffs/store.h"
#include "write_rules.h"

namespace hffs::fs {

enum class Standing : std::uint8_t {
  named,
  removed,    // lives while it is open, as does one …
  absorbing,  // … that never had a name, and whose content is never read
};

struct OverlayRow {
  std::uint64_t number = 0;
  uid_t user = 0;  // whose overlay it is in, and who owns it
  gid_t group = 0;
  FileKind kind = FileKind::regular;
  Territory territory = Territory::ordinary;
  std::uint32_t mode = 0;
  WallTime modified{};  // of files: their data file's
  NodeId parent;        // published or overlay
  std::string name;
  std::string target;  // symlinks
  Standing standing = Standing::named;
};

std::string encode(const OverlayRow& row);
std::optional<OverlayRow> decode(std::string_view key, std::string_view value);
std::vector<OverlayRow> load_rows(const Store& store);

// The first of this process's overlay numbers: no number is used twice, and none costs a commit.
Result<std::uint64_t> reserve_numbers(Store& store);

class RowWriter {
 public:
  RowWriter(Store& store, Handover& handover)
      : store_(store), handover_(handover), progress_(std::make_shared<Progress>()) {}
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  // Rows that change together, and go with one commit. `request`: for which they do, if for one.
  struct Edit {
    std::uint64_t number = 0;
    std::string value;  // empty: the row goes
  };
  static Edit put(const OverlayRow& row) { return {row.number, encode(row)}; }
  static Edit erase(std::uint64_t number) { return {number, {}}; }
  void write(std::vector<Edit> edits, std::uint64_t request);
  // Writes what a process before this one had not brought into the index.
  Result<void> go_on();
  // What it did for a request that it did not answer: the number of the first row that it wrote.
  std::optional<std::uint64_t> done_for(std::uint64_t request) const;
  // Until everything queued so far is durable. Tells a failure since the last wait.
  Result<void> wait();
  // Back-pressure: waits while very much is queued.
  void ease();

 private:
  struct Counts {
    std::uint64_t queued = 0, settled = 0;
    std::optional<Error> failure;
  };
  struct Progress {
    Guarded<Counts> counts;
    std::condition_variable moved;
  };
  void queue(std::vector<Edit> edits, std::optional<std::uint32_t> change);

  Store& store_;
  Handover& handover_;
  const std::shared_ptr<Progress> progress_;
};

}  // namespace hffs::fs
