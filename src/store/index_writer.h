// SPDX-License-Identifier: Apache-2.0
//
// The index thread: the only one with an LMDB write transaction. What waits together shares one
// durable commit; if that fails, each body is tried alone, so that one that cannot be done (a table
// grown too large, a bad key) does not take others with it. A disk that takes no commit fails those of the
// moment, and no later one.
//
// Threads: write() from any, never blocks. Completions run on the index thread, in the order of the
// writes, with no lock held.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "environment.h"
#include "hffs/error.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"
#include "usage_counters.h"
#include "work_queue.h"

namespace hffs {

class IndexWriter {
 public:
  using Body = std::move_only_function<void(WriteTxn&)>;

  IndexWriter(Environment& environment, std::shared_ptr<UsageCounters> usage,
              Metrics& metrics);
  ~IndexWriter() { stop(); }

  void write(Body body, Done<void> done);
  // Waits for the commit. Not from the index thread.
  Result<void> write_and_wait(Body body);
  bool on_own_thread() const { return std::this_thread::get_id() == own_thread_.load(); }
  // Commits what is queued. Later writes hear Code::cancelled.
  void stop();

 private:
  struct Write {
    Body body;
    Done<void> done;
  };

  void run();
  void commit_together(std::vector<Write>& group);
  Result<void> commit(std::span<Write> writes);

  Environment& environment_;
  const std::shared_ptr<UsageCounters> usage_;
  Metrics& metrics_;
  WorkQueue<Write> queue_;
  std::atomic<std::thread::id> own_thread_;
  std::jthread thread_;
};

}  // namespace hffs
