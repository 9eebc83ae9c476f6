// SPDX-License-Identifier: Apache-2.0
//
// WorkQueue<T>: what a store thread lives from. Threads: any may push; one takes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace hffs {

template <class T>
class WorkQueue {
 public:
  // False once the queue is closed; `item` is then untouched.
  [[nodiscard]] bool push(T&& item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  // Waits for work and takes all of it, in order. Empty: closed and drained.
  std::deque<T> take_all() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return closed_ || !items_.empty(); });
    return std::exchange(items_, {});
  }
  // The same, for a time: nullopt if nothing came.
  std::optional<std::deque<T>> take_all_within(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    if (!ready_.wait_for(lock, most, [&] { return closed_ || !items_.empty(); }))
      return std::nullopt;
    return std::exchange(items_, {});
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;  // below: guarded by mutex_
  bool closed_ = false;
};

}  // namespace hffs
