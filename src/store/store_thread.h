// SPDX-License-Identifier: Apache-2.0
//
// One of the store's threads: named, and with the net that every thread entry point has.
#pragma once

#include <pthread.h>

#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include "hffs/telemetry.h"

namespace hffs {

// Joins when destroyed. What escapes `body` ends the process: the queue behind a dead store thread
// would never be served, and a restarted store recovers from any instant.
template <class Body>
std::jthread start_store_thread(const char* name, Body body) {
  return std::jthread([name, body = std::move(body)]() mutable noexcept {
    pthread_setname_np(pthread_self(), name);
    try {
      body();
    } catch (const std::exception& thrown) {
      log(Level::error, "store", "thread {} cannot go on: {}", name, thrown.what());
      std::abort();
    }
  });
}

}  // namespace hffs
