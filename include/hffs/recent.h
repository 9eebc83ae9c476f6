// SPDX-License-Identifier: Apache-2.0
//
// Recent: remembers keys for a while, in memory, at most a fixed number of them. Used for "the Hub
// has no such name" and for "asked just now". Threads: any; nothing blocks.
#pragma once

#include <string>
#include <unordered_map>

#include "hffs/clock.h"
#include "hffs/guarded.h"

namespace hffs {

class Recent {
 public:
  explicit Recent(const Clock& clock) : clock_(clock) {}

  void remember(const std::string& key, std::chrono::milliseconds time) {
    auto keys = keys_.lock();
    // Forgetting everything now and then costs a repeated question each; keeping order costs more.
    if (keys->size() >= kMost) keys->clear();
    (*keys)[key] = clock_.now() + time;
  }
  void forget(const std::string& key) { keys_.lock()->erase(key); }
  void forget_all() { keys_.lock()->clear(); }
  bool knows(const std::string& key) {
    auto keys = keys_.lock();
    const auto found = keys->find(key);
    if (found == keys->end()) return false;
    if (clock_.now() < found->second) return true;
    keys->erase(found);
    return false;
  }

 private:
  static constexpr std::size_t kMost = 65'536;
  const Clock& clock_;
  Guarded<std::unordered_map<std::string, Instant>> keys_;
};

}  // namespace hffs
