// SPDX-License-Identifier: Apache-2.0
//
// Flight<T>: many ask the same question, it is asked once, and each hears the answer.
// Threads: any. land() completes waiters with no lock held.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hffs/error.h"
#include "hffs/guarded.h"

namespace hffs {

template <class T>
class Flight {
 public:
  // True: nobody has asked yet, the caller must, and must land() whatever happens.
  [[nodiscard]] bool join(const std::string& key, Done<T> done) {
    auto flights = flights_.lock();
    auto& waiters = (*flights)[key];
    waiters.push_back(std::move(done));
    return waiters.size() == 1;
  }

  bool under_way(const std::string& key) { return flights_.lock()->contains(key); }

  void land(const std::string& key, const Result<T>& result) {
    std::vector<Done<T>> waiters;
    {
      auto flights = flights_.lock();
      auto node = flights->extract(key);
      if (!node.empty()) waiters = std::move(node.mapped());
    }
    for (auto& done : waiters) done(result);
  }

 private:
  Guarded<std::unordered_map<std::string, std::vector<Done<T>>>> flights_;
};

}  // namespace hffs
