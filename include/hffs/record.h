// SPDX-License-Identifier: Apache-2.0
//
// Encoding of index keys and records. Keys are big-endian, so that LMDB's byte order is numeric
// order; records are little-endian, field by field, and begin with one version byte.
// Threads: value types, any thread. Nothing here blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "hffs/error.h"

namespace hffs {

class KeyWriter {
 public:
  KeyWriter& u32(std::uint32_t value) { return big_endian(value, 4); }
  KeyWriter& u64(std::uint64_t value) { return big_endian(value, 8); }
  KeyWriter& text(std::string_view value) {  // only as the last part of a key
    bytes_.append(value);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }
  operator std::string_view() const { return bytes_; }

 private:
  KeyWriter& big_endian(std::uint64_t value, int width) {
    for (int shift = (width - 1) * 8; shift >= 0; shift -= 8)
      bytes_.push_back(static_cast<char>(value >> shift));
    return *this;
  }
  std::string bytes_;
};

// Reads a key or a record back. After any read past the end ok() is false and zeros come out, so
// that a decoder checks once, at its end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::uint32_t key_u32() { return static_cast<std::uint32_t>(big_endian(4)); }
  std::uint64_t key_u64() { return big_endian(8); }
  std::uint8_t u8() { return static_cast<std::uint8_t>(little_endian(1)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(little_endian(4)); }
  std::uint64_t u64() { return little_endian(8); }
  std::int64_t i64() { return static_cast<std::int64_t>(little_endian(8)); }
  std::string_view text() {  // as RecordWriter::text wrote it
    const std::uint32_t size = u32();
    return take(size);
  }
  std::string_view rest() { return take(rest_.size()); }
  bool ok() const { return ok_; }
  // ok() and nothing left over.
  bool complete() const { return ok_ && rest_.empty(); }

 private:
  std::string_view take(std::size_t size);
  std::uint64_t big_endian(std::size_t width);
  std::uint64_t little_endian(std::size_t width);
  std::string_view rest_;
  bool ok_ = true;
};

class RecordWriter {
 public:
  explicit RecordWriter(std::uint8_t version) { u8(version); }
  RecordWriter& u8(std::uint8_t value) { return little_endian(value, 1); }
  RecordWriter& u32(std::uint32_t value) { return little_endian(value, 4); }
  RecordWriter& u64(std::uint64_t value) { return little_endian(value, 8); }
  RecordWriter& i64(std::int64_t value) {
    return little_endian(static_cast<std::uint64_t>(value), 8);
  }
  RecordWriter& text(std::string_view value) {
    u32(static_cast<std::uint32_t>(value.size()));
    bytes_.append(value);
    return *this;
  }
  operator std::string_view() const { return bytes_; }

 private:
  RecordWriter& little_endian(std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  std::string bytes_;
};

}  // namespace hffs
