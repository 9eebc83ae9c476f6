// SPDX-License-Identifier: Apache-2.0
#include "index_writer.h"

#include <algorithm>
#include <future>

#include "store_thread.h"

namespace hffs {
namespace {

// LMDB keeps the changed pages of a transaction in a list of 128 Ki entries; a group stays far
// below.
constexpr std::size_t kMostWrites = 512;

}  // namespace

IndexWriter::IndexWriter(Environment& environment, std::shared_ptr<UsageCounters> usage,
                         Metrics& metrics)
    : environment_(environment), usage_(std::move(usage)), metrics_(metrics) {
  thread_ = start_store_thread("hffs-index", [this] { run(); });
}

void IndexWriter::stop() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

void IndexWriter::write(Body body, Done<void> done) {
  Write write{std::move(body), std::move(done)};
  if (!queue_.push(std::move(write)))
    write.done(fail(Code::cancelled, "the store is being closed"));
}

Result<void> IndexWriter::write_and_wait(Body body) {
  std::promise<Result<void>> committed;
  write(std::move(body), [&](Result<void> result) { committed.set_value(std::move(result)); });
  return committed.get_future().get();
}

void IndexWriter::run() {
  own_thread_ = std::this_thread::get_id();
  while (true) {
    auto waiting = queue_.take_all();
    if (waiting.empty()) return;
    while (!waiting.empty()) {
      std::vector<Write> group;
      while (!waiting.empty() && group.size() < kMostWrites) {
        group.push_back(std::move(waiting.front()));
        waiting.pop_front();
      }
      commit_together(group);
    }
  }
}

void IndexWriter::commit_together(std::vector<Write>& group) {
  const Result<void> shared = commit(group);
  for (Write& write : group) {
    if (shared || group.size() == 1)
      write.done(shared);
    else
      write.done(commit({&write, 1}));
  }
}

Result<void> IndexWriter::commit(std::span<Write> writes) {
  IndexTxn txn(environment_);
  for (Write& write : writes) write.body(txn);
  if (auto committed = txn.commit(); !committed) {
    environment_.reopen_if_failed();
    return committed;
  }
  usage_->apply(txn.delta);
  metrics_.add(Metric::blocks_claimed, txn.delta.claimed_blocks);
  return {};
}

}  // namespace hffs
