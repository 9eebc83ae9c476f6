// SPDX-License-Identifier: Apache-2.0
#include "extents.h"

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "header_reader.h"

namespace hffs::prefetch {
namespace {

// No file comes near, and sums of positions stay far from overflow.
constexpr std::uint64_t kMostSize = std::uint64_t{1} << 60;

bool has_suffix(std::string_view text, std::string_view suffix) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return text.size() >= suffix.size() &&
         std::ranges::equal(text.substr(text.size() - suffix.size()), suffix, {}, lower);
}

Found read(Format format, std::uint64_t file_size, const Peek& peek) {
  if (file_size > kMostSize) return std::unexpected(Stop::nonsense);
  switch (format) {
    case Format::safetensors:
      return read_safetensors(file_size, peek);
    case Format::gguf:
      return read_gguf(file_size, peek);
    case Format::torch_zip:
      return read_torch_zip(file_size, peek);
    case Format::other:
      break;
  }
  return std::unexpected(Stop::nonsense);
}

}  // namespace

Format format_of(std::string_view path) {
  static constexpr std::array<std::pair<std::string_view, Format>, 6> kSuffixes{{
      {".safetensors", Format::safetensors},
      {".gguf", Format::gguf},
      {".bin", Format::torch_zip},
      {".pt", Format::torch_zip},
      {".pth", Format::torch_zip},
      {".ckpt", Format::torch_zip},
  }};
  for (const auto& [suffix, format] : kSuffixes)
    if (has_suffix(path, suffix)) return format;
  return Format::other;
}

std::optional<Extents> load_extents(Format format, std::uint64_t file_size,
                                    const Peek& peek) noexcept {
  try {
    auto found = read(format, file_size, peek);
    if (found) return std::move(*found);
    if (found.error() == Stop::missing) return std::nullopt;
  } catch (const std::exception&) {
    // No memory, or a peek that threw: reading ahead is not worth more than the read itself.
  }
  return Extents{};
}

Found settle(std::vector<ByteRange> parts, std::uint64_t head, std::uint64_t file_size) {
  std::erase_if(parts, [](const ByteRange& part) { return part.empty(); });
  if (!std::ranges::is_sorted(parts, {}, &ByteRange::offset))
    std::ranges::sort(parts, {}, &ByteRange::offset);
  std::uint64_t end = head;
  for (const ByteRange& part : parts) {
    if (part.offset < end || part.offset > file_size || part.size > file_size - part.offset)
      return std::unexpected(Stop::nonsense);
    end = part.end();
  }
  if (parts.empty()) return std::unexpected(Stop::nonsense);
  return Extents{std::move(parts), head};
}

// Windows grow from 64 KiB, enough for most headers, to a block. They end where a block ends:
// blocks are here or missing as a whole, so a window never waits for a block that nobody needs.
bool HeaderReader::refill(std::size_t size) {
  if (size > left()) {
    refuse();
    return false;
  }
  const std::uint64_t needed = position_ + size;
  const std::uint64_t block_end = (needed + kBlockSize - 1) / kBlockSize * kBlockSize;
  const std::uint64_t to = std::min({end_, block_end, std::max(needed, position_ + chunk_)});
  auto bytes = peek_({position_, to - position_});
  if (!bytes || bytes->size() != to - position_) {
    fail(Stop::missing);
    return false;
  }
  window_ = std::move(*bytes);
  window_at_ = position_;
  chunk_ = std::min(chunk_ * 2, kBlockSize);
  return true;
}

}  // namespace hffs::prefetch
