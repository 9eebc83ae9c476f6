// SPDX-License-Identifier: Apache-2.0
//
// PrefetchQueue: brings whole files here because somebody said so (`hffs prefetch`, `hf download` through the mount), and
// sees each of them verified. What it asks for gives way to what readers wait for, and is taken from the budget of who
// ordered it. An origin that is away is waited for; what it refuses for good ends a file, and no other.
//
// In memory only: an order that a daemon's end has cut short is given again, and what came stays. The same order given again
// while it runs is the one that runs.
//
// Threads: any. One thread of its own does the work; it may block on the local disk. The calls do not block, but for
// stop().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hffs/budget.h"
#include "hffs/catalog.h"
#include "hffs/clock.h"
#include "hffs/globs.h"
#include "hffs/store.h"
#include "hffs/transfer.h"
#include "hffs/trees.h"

namespace hffs {

struct PrefetchOrder {
  RepoId repo;
  CommitId commit;
  std::vector<TreeFile> files;  // those that `globs` takes
  Globs globs;
  Caller who;
  bool stays = false;  // though nobody looks at it any more
};

class PrefetchQueue {
 public:
  struct Options {
    std::uint64_t bytes_ahead = std::uint64_t{64} << 20;  // asked for and not here yet, in all
    std::uint64_t bytes_ahead_of_file = std::uint64_t{16} << 20;
    std::size_t files_at_once = 8;
    std::chrono::seconds patience{15 * 60};  // in trouble, until a file is given up
    std::chrono::seconds silence{15};        // nobody has looked at an order that does not stay
    std::size_t orders_per_user = 64, files_per_user = 500'000;
  };
  // All outlive stop().
  static std::unique_ptr<PrefetchQueue> create(Options options, Catalog& catalog, Store& store,
                                               TransferEngine& transfer, Budget& budget, const Clock& clock);
  virtual ~PrefetchQueue() = default;
  // Orders that are under way end; from then on there are none, and nothing is done any more. Blocks on the thread's end.
  virtual void stop() = 0;

  // Done on the queue's thread: what takes long to find out, before an order. Lost if too much is waiting.
  virtual void run(std::move_only_function<void()> work) = 0;
  // Its number. Code::over_quota: the user has too many.
  virtual Result<std::uint64_t> add(PrefetchOrder order) = 0;
  // False: there is none of this number, or it has ended.
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
    std::vector<std::pair<FileState, Code>> failed;  // the first of them
    std::uint64_t files_failed = 0;                  // all
  };
  // Looking at one's own keeps it going; `user` empty: anybody's. An order that has ended is told of for some minutes.
  virtual std::optional<State> look(std::uint64_t number, std::optional<uid_t> user) = 0;
  // All that are told of, without their files; nothing is kept going by it.
  virtual std::vector<State> list() const = 0;
};

}  // namespace hffs
