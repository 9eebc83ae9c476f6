// SPDX-License-Identifier: Apache-2.0
//
// A Done that a stop_token can answer first, for calls that know no stop: the late answer is dropped.
// Threads: any; the answer runs on whichever thread is first.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>

#include "hffs/error.h"

namespace hffs::fs {

template <class T>
class Parked {
 public:
  static Done<T> wrap(std::stop_token stop, Done<T> done) {
    if (!stop.stop_possible()) return done;
    auto parked = std::make_shared<Parked>(std::move(done));
    // Weak: the last owner may let go while the callback runs.
    parked->on_stop_.emplace(std::move(stop), Cancel{parked});
    return [parked](Result<T> result) { parked->answer(std::move(result)); };
  }

  explicit Parked(Done<T> done) : done_(std::move(done)) {}

 private:
  struct Cancel {
    std::weak_ptr<Parked> parked;
    void operator()() const {
      if (const auto here = parked.lock()) here->answer(fail(Code::cancelled, "interrupted"));
    }
  };
  void answer(Result<T> result) {
    if (answered_.exchange(true)) return;
    Done<T> done = std::move(done_);
    done(std::move(result));
  }

  std::atomic<bool> answered_ = false;
  Done<T> done_;
  std::optional<std::stop_callback<Cancel>> on_stop_;
};

}  // namespace hffs::fs
