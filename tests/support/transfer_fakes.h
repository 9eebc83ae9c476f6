// SPDX-License-Identifier: Apache-2.0
//
// A blob and an origin of ranges that live in memory, and misbehave as a test wants.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "hffs/hub.h"
#include "hffs/store.h"

namespace hffs::test {

inline std::byte byte_at(std::uint64_t offset) {
  return static_cast<std::byte>(offset * 31 + offset / 977);
}

// Everything in memory; writes complete on the writer's thread, or when the test lets them.
class MemoryBlob final : public Blob {
 public:
  explicit MemoryBlob(std::uint64_t size, std::uint64_t number = 1)
      : info_{.number = number, .id = *BlobId::parse(std::string(64, 'a')), .size = size},
        bytes_(size),
        here_(block_count(size)) {}

  const BlobInfo& identity() const override { return info_; }
  bool readable(ByteRange range) const override { return missing(range).empty(); }
  std::vector<BlockRun> missing(ByteRange range) const override {
    std::lock_guard lock(mutex_);
    return missing_runs(blocks_of(clip(range, info_.size)), [this](BlockIndex block) { return bool{here_[block]}; });
  }
  bool whole() const override { return false; }
  void when_settled(Done<void> done) override { done({}); }
  Result<std::size_t> read(std::uint64_t, std::span<std::byte>) const override { return 0; }
  void write(BlockIndex first, std::vector<std::byte> bytes, Done<void> done) override {
    std::unique_lock lock(mutex_);
    EXPECT_EQ(bytes.size(), bytes_of(first, info_.size).size);
    std::memcpy(bytes_.data() + first * kBlockSize, bytes.data(), bytes.size());
    ++writes;
    if (hold) {
      held_.emplace_back(first, std::move(done));
      return;
    }
    Result<void> result;
    if (write_result) result = write_result(first);
    here_[first] = bool(result) || result.error().code == Code::no_space;
    lock.unlock();
    done(std::move(result));
  }

  // The block is lost again, as when it never reached the disk.
  void lose(BlockIndex block) {
    std::lock_guard lock(mutex_);
    here_[block] = false;
  }
  void let_go() {
    while (true) {
      std::unique_lock lock(mutex_);
      if (held_.empty()) return;
      auto [block, done] = std::move(held_.back());
      held_.pop_back();
      here_[block] = true;
      lock.unlock();
      done({});
    }
  }
  bool right(ByteRange range) const {
    std::lock_guard lock(mutex_);
    for (std::uint64_t i = range.offset; i < range.end(); ++i)
      if (bytes_[i] != byte_at(i)) return false;
    return true;
  }

  // What the disk says to a block; nothing: done. With no_space the block is readable all the same.
  std::function<Result<void>(BlockIndex)> write_result;
  std::atomic<bool> hold = false;
  std::atomic<int> writes = 0;

 private:
  BlobInfo info_;
  mutable std::mutex mutex_;
  std::vector<std::byte> bytes_;
  std::vector<bool> here_;
  std::vector<std::pair<BlockIndex, Done<void>>> held_;
};

// Serves ranges on threads of their own; each attempt may be told to misbehave.
class RangeOrigin final : public Origin {
 public:
  struct Plan {
    std::uint64_t cut_after = ~0ull;  // bytes delivered before the failure
    std::optional<Error> error;
    bool whole = false;                 // ignores the range
    bool stall = false;                 // until cancelled
    std::uint64_t stall_after = ~0ull;  // bytes delivered before it waits for let_go()
    std::int64_t shift = 0;             // begins so many bytes behind the range
    bool late_handle = false;           // fetch_range() returns only after before_handle()
  };
  std::function<Plan(int attempt, ByteRange range)> plan = [](int, ByteRange) { return Plan{}; };
  std::map<std::string, Code> refusals;  // by repository: it answers nothing else
  std::set<std::string> stalled;         // by path: not a byte before let_go()
  std::function<void()> before_handle;
  void let_go() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  std::atomic<int> attempts = 0;
  std::atomic<std::uint64_t> delivered = 0;
  std::atomic<int> pauses = 0;
  std::vector<ByteRange> asked() {
    std::lock_guard lock(mutex_);
    return asked_;
  }

  // The path of each attempt, in order.
  std::vector<std::string> served() {
    std::lock_guard lock(mutex_);
    return served_;
  }

  ~RangeOrigin() override {
    let_go();
    for (auto& thread : threads_) thread.join();
  }

  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    auto fetch = std::make_shared<Fetch>(*this);
    std::unique_lock lock(mutex_);
    EXPECT_GT(range.size, 0u);
    EXPECT_LE(range.end(), file.size);
    asked_.push_back(range);
    Plan its = plan(attempts++, range);
    if (const auto refusal = refusals.find(file.repo.text()); refusal != refusals.end())
      its = {.cut_after = 0, .error = Error{refusal->second, "refused", {}}};
    if (stalled.contains(file.path)) its.stall_after = 0;
    served_.push_back(file.path);
    threads_.emplace_back([this, its, range, sink, fetch, size = file.size] {
      serve(its, range, size, *sink, *fetch);
    });
    lock.unlock();
    if (its.late_handle) before_handle();
    return fetch;
  }
  void fetch_revision(const RepoId&, const std::string&, Done<RepoInfo>) override {}
  void fetch_tree_page(const RepoId&, const CommitId&, const std::string&,
                       Done<TreePage>) override {}
  void fetch_paths(const RepoId&, const CommitId&, std::vector<std::string>,
                   Done<std::vector<TreeEntry>>) override {}
  void fetch_refs(const RepoId&, Done<RefList>) override {}
  std::vector<Health> health() const override { return {}; }

 private:
  struct Fetch final : RangeFetch {
    explicit Fetch(RangeOrigin& its_origin) : origin(its_origin) {}
    void resume() override { wake(false); }
    void cancel() override {
      wake(true);
      origin.nudge();
    }
    bool is_cancelled() {
      std::lock_guard lock(mutex);
      return cancelled;
    }
    void wake(bool stop) {
      std::lock_guard lock(mutex);
      cancelled = cancelled || stop;
      resumed = true;
      changed.notify_all();
    }
    void wait() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return resumed || cancelled; });
      resumed = false;
    }
    RangeOrigin& origin;
    std::mutex mutex;
    std::condition_variable changed;
    bool resumed = false, cancelled = false;
  };

  void serve(const Plan& its, ByteRange range, std::uint64_t size, RangeSink& sink, Fetch& fetch) {
    if (its.stall) {
      fetch.wait();
      return sink.on_done(fail(Code::cancelled, "cancelled"));
    }
    ByteRange out = its.whole ? ByteRange{0, size} : range;
    out.offset += static_cast<std::uint64_t>(its.shift);
    out.size -= static_cast<std::uint64_t>(its.shift);
    if (its.cut_after > 0) sink.on_start(out);
    std::vector<std::byte> piece;
    std::uint64_t sent = 0;
    while (sent < out.size && sent < its.cut_after) {
      const std::uint64_t count =
          std::min({out.size - sent, its.cut_after - sent, std::uint64_t{100'000}});
      if (sent + count > its.stall_after) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return released_ || fetch.is_cancelled(); });
        if (fetch.is_cancelled()) break;
      }
      piece.resize(count);
      for (std::uint64_t i = 0; i < count; ++i) piece[i] = byte_at(out.offset + sent + i);
      delivered += count;  // before a completion can look
      const Flow flow = sink.on_data(out.offset + sent, piece);
      if (flow != Flow::more) delivered -= count;
      if (flow == Flow::stop) return sink.on_done(fail(Code::cancelled, "stopped"));
      if (flow == Flow::pause) {
        ++pauses;
        fetch.wait();
        if (fetch.is_cancelled()) break;
        continue;
      }
      sent += count;
    }
    if (fetch.is_cancelled()) return sink.on_done(fail(Code::cancelled, "cancelled"));
    if (its.error) return sink.on_done(fail(Error(*its.error)));
    sink.on_done({});
  }

  void nudge() {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
  std::vector<std::thread> threads_;
  std::vector<ByteRange> asked_;
  std::vector<std::string> served_;
};

}  // namespace hffs::test
