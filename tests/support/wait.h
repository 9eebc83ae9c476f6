// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a Done in a test: `auto result = wait_for<T>([&](Done<T> done) {
// call(std::move(done)); });`
#pragma once

#include <chrono>
#include <future>
#include <memory>

#include "hffs/error.h"

namespace hffs::test {

template <class T, class Call>
Result<T> wait_for(Call call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  call(Done<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
  if (future.wait_for(std::chrono::seconds(20)) != std::future_status::ready)
    return fail(Code::bug, "no completion within 20 s");
  return future.get();
}

}  // namespace hffs::test
