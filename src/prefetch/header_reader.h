// SPDX-License-Identifier: Apache-2.0
//
// What the readers of the formats share: little-endian fields in file order, out of bytes that may
// be missing or hostile. Threads: one object, one thread.
#pragma once

#include <concepts>
#include <expected>

#include "extents.h"

namespace hffs::prefetch {

// A million tensors are 16 MB of parts; the largest models have some ten thousands.
inline constexpr std::uint64_t kMostTensors = 1'000'000;

enum class Stop : std::uint8_t {
  missing,   // bytes are not here
  nonsense,  // not such a file, or damaged
};
using Found = std::expected<Extents, Stop>;

Found read_safetensors(std::uint64_t file_size, const Peek& peek);
Found read_gguf(std::uint64_t file_size, const Peek& peek);
Found read_torch_zip(std::uint64_t file_size, const Peek& peek);

// Sorts, leaves out what is empty, and refuses overlaps and what lies before `head` or behind the
// end.
Found settle(std::vector<ByteRange> parts, std::uint64_t head, std::uint64_t file_size);

// Reads the bytes of a range in order, at most about a block of them in memory. After the first
// failure it answers zeros, so that callers need to look at ok() only before they use what they
// read.
class HeaderReader {
 public:
  // `range` lies inside the file. `peek` must live longer than the reader.
  HeaderReader(const Peek& peek, ByteRange range)
      : peek_(peek), position_(range.offset), end_(range.end()) {}

  bool ok() const { return !stop_; }
  // Why it is not ok().
  std::unexpected<Stop> stop() const { return std::unexpected(*stop_); }
  void refuse() { fail(Stop::nonsense); }
  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return end_ - position_; }

  template <std::unsigned_integral T>
  T number() {
    if (!require(sizeof(T))) return 0;
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(std::to_integer<T>(here()[i]) << (8 * i)));
    position_ += sizeof(T);
    return value;
  }
  // Valid until the next call. For texts whose size has a bound of its own: they are held in
  // memory.
  std::string_view text(std::size_t size) {
    if (size == 0 || !require(size)) return {};
    const std::string_view result(reinterpret_cast<const char*>(here()), size);
    position_ += size;
    return result;
  }
  // What is left out need not be here.
  void skip(std::uint64_t size) {
    if (stop_) return;
    if (size > left()) return refuse();
    position_ += size;
  }

 private:
  const std::byte* here() const { return window_.data() + (position_ - window_at_); }
  bool require(std::size_t size) {
    if (stop_) return false;
    // Positions only grow, so that the window never lies behind.
    const std::uint64_t passed = position_ - window_at_;
    return (passed <= window_.size() && size <= window_.size() - passed) || refill(size);
  }
  bool refill(std::size_t size);
  void fail(Stop why) {
    if (!stop_) stop_ = why;
  }

  const Peek& peek_;
  std::uint64_t position_, end_;
  std::vector<std::byte> window_;
  std::uint64_t window_at_ = position_;
  std::uint64_t chunk_ = std::uint64_t{64} << 10;
  std::optional<Stop> stop_;
};

}  // namespace hffs::prefetch
