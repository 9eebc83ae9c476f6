// SPDX-License-Identifier: Apache-2.0
//
// Guarded<T>: a mutex that owns its data, so that unlocked access does not compile.
// Threads: any; lock() blocks. Lock order is in docs/ARCHITECTURE.md.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace hffs {

template <class T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  class Lock {
   public:
    explicit Lock(Guarded& owner) : lock_(owner.mutex_), value_(&owner.value_) {}
    T& operator*() { return *value_; }
    T* operator->() { return value_; }
    void wait(std::condition_variable& condition) { condition.wait(lock_); }
    template <class Clock, class Duration>
    std::cv_status wait_until(std::condition_variable& condition,
                              const std::chrono::time_point<Clock, Duration>& deadline) {
      return condition.wait_until(lock_, deadline);
    }
    void unlock() { lock_.unlock(); }
    void relock() { lock_.lock(); }

   private:
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };
  [[nodiscard]] Lock lock() { return Lock(*this); }

 private:
  std::mutex mutex_;
  T value_{};
};

}  // namespace hffs
