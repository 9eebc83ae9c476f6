// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a Done on a thread that may wait. Threads: the caller's, until the answer or a stop.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "hffs/error.h"

namespace hffs::carry {

// Code::cancelled on a stop; the answer is lost then.
template <class T, class Call>
Result<T> await(const std::stop_token& stop, Call call) {
  struct Answer {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::optional<Result<T>> result;
  };
  auto answer = std::make_shared<Answer>();
  call(Done<T>([answer](Result<T> result) {
    const std::lock_guard lock(answer->mutex);
    answer->result = std::move(result);
    answer->wake.notify_all();
  }));
  std::unique_lock lock(answer->mutex);
  if (!answer->wake.wait(lock, stop, [&] { return answer->result.has_value(); }))
    return fail(Code::cancelled, "stopped");
  return std::move(*answer->result);
}

}  // namespace hffs::carry
