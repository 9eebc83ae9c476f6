// SPDX-License-Identifier: Apache-2.0
#include "hffs/record.h"

namespace hffs {

std::string_view Reader::take(std::size_t size) {
  if (!ok_ || size > rest_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

std::uint64_t Reader::big_endian(std::size_t width) {
  std::uint64_t value = 0;
  for (char c : take(width)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::uint64_t Reader::little_endian(std::size_t width) {
  std::uint64_t value = 0;
  int shift = 0;
  for (char c : take(width)) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(c)) << shift;
    shift += 8;
  }
  return value;
}

}  // namespace hffs
