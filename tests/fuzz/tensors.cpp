// SPDX-License-Identifier: Apache-2.0
//
// Headers of model files. An input: a letter for the format; how many MiB of zeros stand behind the head (a digit);
// how many bytes of the rest are the file's end (two digits of hex, times 4); which block is not here ('.': none).
#include "extents.h"
#include "fuzz.h"

using namespace hffs;
using namespace hffs::prefetch;

FUZZ_QUIET()

namespace {

std::uint64_t digit(std::uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

struct File {
  std::string_view head, tail;
  std::uint64_t size = 0, missing = ~std::uint64_t{0};
  std::uint64_t asked = 0;

  std::optional<std::vector<std::byte>> peek(ByteRange range) {
    // Never outside of the file, and no more at once than it says.
    MUST(!range.empty() && range.offset <= size && range.size <= size - range.offset);
    asked += range.size;
    const auto blocks = blocks_of(range);
    MUST(blocks.count <= 8);
    if (missing >= blocks.first && missing < blocks.end()) return std::nullopt;
    std::vector<std::byte> bytes(range.size);
    const auto place = [&](std::uint64_t at, std::string_view piece) {
      const std::uint64_t from = std::max(at, range.offset), to = std::min(at + piece.size(), range.end());
      if (from < to) std::memcpy(&bytes[from - range.offset], &piece[from - at], to - from);
    };
    place(0, head);
    place(size - tail.size(), tail);
    return bytes;
  }
};

void check(Format format, File file) {
  const auto peek = [&](ByteRange range) { return file.peek(range); };
  const auto found = load_extents(format, file.size, peek);
  MUST(file.asked <= 64 * file.size + (std::uint64_t{1} << 20));
  if (!found) {
    MUST(file.missing != ~std::uint64_t{0});
    return;
  }
  std::uint64_t end = found->head;
  MUST(found->head <= file.size && (!found->parts.empty() || found->head == 0));
  for (const ByteRange& part : found->parts) {
    MUST(!part.empty() && part.offset >= end && part.offset <= file.size && part.size <= file.size - part.offset);
    end = part.end();
  }
  MUST(load_extents(format, file.size, peek) == found);
}

}  // namespace

FUZZ_TARGET(input) {
  const std::uint8_t letter = input.byte();
  const std::uint64_t zeros = digit(input.byte()) << 20;
  const std::uint64_t high = digit(input.byte()), low = digit(input.byte());
  const std::uint8_t hole = input.byte();
  const auto bytes = input.rest();
  const std::size_t tail = std::min<std::size_t>(bytes.size(), (high * 16 + low) * 4);
  File file{.head = bytes.substr(0, bytes.size() - tail), .tail = bytes.substr(bytes.size() - tail)};
  file.size = bytes.size() + zeros;
  if (hole != '.') file.missing = digit(hole);
  check(letter == 's' ? Format::safetensors : letter == 'g' ? Format::gguf : Format::torch_zip, file);
}
