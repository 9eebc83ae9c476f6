// SPDX-License-Identifier: Apache-2.0
//
// PrefetchQueue: brings whole files here because somebody said so (`hffs prefetch`, `hf download` through the mount), and
// sees each of them verified. What it asks for gives way to what readers wait for, and is taken from the budget of who
// ordered it. An origin that is away is waited for; what it refuses for good ends a file, and no other.
//
// In memory only: an order that a daemon's end has cut short is given again, and what came stays.
//
// Threads: any. One thread of its own does the work; it may block on the local disk. The calls do not block.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hffs/budget.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/store.h"
#include "hffs/transfer.h"
#include "hffs/trees.h"

namespace hffs {

struct PrefetchOrder {
  RepoId repo;
  CommitId commit;
  std::vector<TreeFile> files;
  Caller who;
  bool stays = false;  // though nobody looks at it any more
};

class PrefetchQueue {
 public:
  struct Options {
    std::uint64_t bytes_ahead = std::uint64_t{64} << 20;  // asked for and not here yet, in all
    std::size_t files_at_once = 8;
    std::chrono::seconds patience{15 * 60};  // without a byte, until a file is given up
    std::chrono::seconds silence{15};        // nobody has looked at an order that does not stay
    std::size_t orders_per_user = 64;
  };
  // All outlive it.
  static std::unique_ptr<PrefetchQueue> create(Options options, Catalog& catalog, Store& store,
                                               TransferEngine& transfer, Budget& budget, const Clock& clock);
  // Orders that are under way end.
  virtual ~PrefetchQueue() = default;

  // Its number. Code::over_quota: the user has too many.
  virtual Result<std::uint64_t> add(PrefetchOrder order) = 0;
  // Files are counted as they stood last. False: there is none of this number, or it has ended.
  virtual bool cancel(std::uint64_t number) = 0;

  struct FileState {
    std::string path;
    std::uint64_t size = 0, here = 0;
    bool verifying = false;
    std::string trouble;  // why it does not come just now, or came not at all; empty: it comes
  };
  struct State {
    std::uint64_t number = 0;
    RepoId repo;
    CommitId commit;
    uid_t user = 0;
    bool stays = false, running = false;
    std::uint64_t files = 0, files_done = 0, bytes = 0, bytes_done = 0;  // each content once
    std::vector<FileState> active;  // in work, or in trouble
    std::vector<std::pair<FileState, Code>> failed;
  };
  // Looking at it keeps it going. An order that has ended is told of for some minutes.
  virtual std::optional<State> look(std::uint64_t number) = 0;
  // All that are told of, without their files; nothing is kept going by it.
  virtual std::vector<State> list() const = 0;
};

}  // namespace hffs
