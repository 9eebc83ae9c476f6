// SPDX-License-Identifier: Apache-2.0
#include "victims.h"

#include <algorithm>
#include <tuple>

namespace hffs {

Victims choose_victims(std::vector<Candidate> candidates, std::uint64_t wanted) {
  Victims victims;
  std::erase_if(candidates, [&](const Candidate& each) {
    const bool stays = each.pinned || each.open || each.only_copy;
    if (stays && each.ordered)
      (each.pinned ? victims.pinned_bytes
       : each.open ? victims.open_bytes
                   : victims.only_copy_bytes) += each.bytes;
    return stays || each.bytes == 0;
  });
  std::ranges::sort(candidates, {}, [](const Candidate& each) {
    return std::tuple(!each.ordered, each.last_open, each.number);
  });
  for (const Candidate& each : candidates) {
    if (!each.ordered && victims.bytes >= wanted) break;
    victims.numbers.push_back(each.number);
    victims.bytes += each.bytes;
  }
  return victims;
}

}  // namespace hffs
