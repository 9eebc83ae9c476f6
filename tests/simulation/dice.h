// SPDX-License-Identifier: Apache-2.0
//
// Dice: random numbers that are the same on every machine and with every library, made from a seed and a few
// numbers that say what for. Threads: values with one owner.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace hffs::test {

class Dice {
 public:
  explicit Dice(std::initializer_list<std::uint64_t> seed) {
    for (const std::uint64_t part : seed) state_ = (state_ ^ part) * 0x9E3779B97F4A7C15u + next();
  }

  // splitmix64 (public domain, Sebastiano Vigna).
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t end) { return end == 0 ? 0 : next() % end; }
  std::uint64_t between(std::uint64_t first, std::uint64_t last) { return first + below(last - first + 1); }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class Container>
  auto& pick(Container& from) {
    return *std::next(from.begin(), static_cast<long>(below(from.size())));
  }
  // The number of one of these weights.
  std::size_t weighted(const std::vector<unsigned>& weights) {
    std::uint64_t all = 0;
    for (const unsigned weight : weights) all += weight;
    std::uint64_t at = below(all);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (at < weights[i]) return i;
      at -= weights[i];
    }
    return 0;
  }
  template <class Container>
  void shuffle(Container& all) {
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[below(i)]);
  }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace hffs::test
