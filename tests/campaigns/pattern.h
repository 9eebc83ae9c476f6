// SPDX-License-Identifier: Apache-2.0
//
// Bytes that are a function of (file, offset): any piece of a file can be judged without the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

struct Pattern {
  std::uint64_t seed = 0, size = 0;

  std::uint64_t word(std::uint64_t index) const {  // splitmix64
    std::uint64_t z = (seed * 0x100000001b3 + index + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  void fill(unsigned char* out, std::uint64_t at, std::size_t count) const {
    while (count > 0) {
      const std::uint64_t value = word(at / 8);
      const std::size_t skip = at % 8, take = count < 8 - skip ? count : 8 - skip;
      std::memcpy(out, reinterpret_cast<const unsigned char*>(&value) + skip, take);
      out += take, at += take, count -= take;
    }
  }

  // The first offset in the file at which `got` is something else; -1: none is.
  std::int64_t differs(const unsigned char* got, std::uint64_t at, std::size_t count) const {
    while (count > 0) {
      const std::uint64_t value = word(at / 8);
      const std::size_t skip = at % 8, take = count < 8 - skip ? count : 8 - skip;
      const auto* want = reinterpret_cast<const unsigned char*>(&value) + skip;
      if (std::memcmp(got, want, take) != 0)
        for (std::size_t i = 0; i < take; ++i)
          if (got[i] != want[i]) return static_cast<std::int64_t>(at + i);
      got += take, at += take, count -= take;
    }
    return -1;
  }
};
