// SPDX-License-Identifier: Apache-2.0
//
// GGUF: magic, version, two counts; key-value pairs; one record for each tensor with its offset in
// the data section; padding to general.alignment; the data section. No record says how many bytes
// its tensor has: a part reaches to the next one's offset, the last to the file's end.
#include <algorithm>
#include <array>

#include "header_reader.h"

namespace hffs::prefetch {
namespace {

// Vocabularies of 256,000 tokens with their merges make headers of some 10 MiB.
constexpr std::uint64_t kMostHeader = std::uint64_t{64} << 20;
constexpr std::uint32_t kMostDimensions = 16;  // ggml: 4
constexpr int kMostNesting = 8;
constexpr std::string_view kMagic = "GGUF";
constexpr std::string_view kAlignmentKey = "general.alignment";

constexpr std::uint32_t kUint32 = 4;
constexpr std::uint32_t kString = 8;
constexpr std::uint32_t kArray = 9;
// Bytes of a value by its type: u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64. Of strings
// and arrays the least: a string's length; an array's type and length.
constexpr std::array<std::uint8_t, 13> kValueSize{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

void skip_string(HeaderReader& in) {
  in.skip(in.number<std::uint64_t>());
}

void skip_array(HeaderReader& in, int nesting) {
  const auto type = in.number<std::uint32_t>();
  const auto count = in.number<std::uint64_t>();
  if (!in.ok()) return;
  if (nesting > kMostNesting || type >= kValueSize.size() || count > in.left() / kValueSize[type])
    return in.refuse();
  if (type != kString && type != kArray) return in.skip(count * kValueSize[type]);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i)
    type == kString ? skip_string(in) : skip_array(in, nesting + 1);
}

void skip_value(HeaderReader& in, std::uint32_t type) {
  if (type >= kValueSize.size()) return in.refuse();
  if (type == kString) return skip_string(in);
  if (type == kArray) return skip_array(in, 1);
  in.skip(kValueSize[type]);
}

// Reads the key-value pairs; returns the alignment of the data section.
std::uint32_t read_pairs(HeaderReader& in, std::uint64_t count) {
  std::uint32_t alignment = 32;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    const auto length = in.number<std::uint64_t>();
    bool is_alignment = false;
    if (length == kAlignmentKey.size())
      is_alignment = in.text(kAlignmentKey.size()) == kAlignmentKey;
    else
      in.skip(length);
    const auto type = in.number<std::uint32_t>();
    if (is_alignment && type == kUint32) {
      alignment = in.number<std::uint32_t>();
      if (alignment == 0) in.refuse();
    } else {
      skip_value(in, type);
    }
  }
  return alignment;
}

// The offsets of the tensors in the data section.
std::vector<std::uint64_t> read_offsets(HeaderReader& in, std::uint64_t count) {
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    skip_string(in);  // name
    const auto dimensions = in.number<std::uint32_t>();
    if (dimensions > kMostDimensions) in.refuse();
    in.skip(std::uint64_t{dimensions} * 8 + 4);  // and the type
    offsets.push_back(in.number<std::uint64_t>());
  }
  return offsets;
}

}  // namespace

Found read_gguf(std::uint64_t file_size, const Peek& peek) {
  HeaderReader in(peek, {0, std::min(file_size, kMostHeader)});
  if (in.text(kMagic.size()) != kMagic) in.refuse();
  const auto version = in.number<std::uint32_t>();
  if (version != 2 && version != 3) in.refuse();
  const auto tensors = in.number<std::uint64_t>();
  if (tensors > kMostTensors) in.refuse();
  const auto pairs = in.number<std::uint64_t>();
  const std::uint32_t alignment = read_pairs(in, pairs);
  auto offsets = read_offsets(in, tensors);
  if (!in.ok()) return in.stop();

  const std::uint64_t head = (in.position() + alignment - 1) / alignment * alignment;
  if (head > file_size) return std::unexpected(Stop::nonsense);
  const std::uint64_t data_size = file_size - head;
  if (!std::ranges::is_sorted(offsets)) std::ranges::sort(offsets);
  if (!offsets.empty() && offsets.back() > data_size) return std::unexpected(Stop::nonsense);
  offsets.push_back(data_size);
  std::vector<ByteRange> parts;
  parts.reserve(offsets.size());
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    parts.push_back({head + offsets[i], offsets[i + 1] - offsets[i]});
  return settle(std::move(parts), head, file_size);
}

}  // namespace hffs::prefetch
