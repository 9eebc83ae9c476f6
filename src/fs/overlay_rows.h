// SPDX-License-Identifier: Apache-2.0
//
// The overlay's rows in the index, and the order in which they get there.
//
// Overlay changes are made in memory first; their rows are queued in the same order and committed
// behind, many in one commit. A crash of the machine may lose the last of them, never one from the middle;
// fsync waits.
//
// Threads: any. put() and erase() never block; wait() and ease() do.
#pragma once

#include <condition_variable>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/guarded.h"
#include "hffs/store.h"
#include "write_rules.h"

namespace hffs::fs {

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
};

std::string encode(const OverlayRow& row);
std::optional<OverlayRow> decode(std::string_view key, std::string_view value);
std::vector<OverlayRow> load_rows(const Store& store);

// The first of this process's overlay numbers: no number is used twice, and none costs a commit.
Result<std::uint64_t> reserve_numbers(Store& store);

class RowWriter {
 public:
  explicit RowWriter(Store& store) : store_(store), progress_(std::make_shared<Progress>()) {}
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  // `instead_of`: the row that goes in the same commit.
  void put(const OverlayRow& row, std::optional<std::uint64_t> instead_of = {});
  void erase(std::uint64_t number);
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
  void queue(std::move_only_function<void(WriteTxn&)> body);

  Store& store_;
  const std::shared_ptr<Progress> progress_;
};

}  // namespace hffs::fs
