// SPDX-License-Identifier: Apache-2.0
//
// PyTorch's archives: entries one after the other, each a local header and its bytes; the central
// directory, which says where each local header is; the end record, which says where the directory
// is. PyTorch writes ZIP64's end record and its locator in front of the end record, whether they
// are needed or not.
#include <algorithm>

#include "header_reader.h"

namespace hffs::prefetch {
namespace {

constexpr std::string_view kLocalSignature = "PK\3\4";
constexpr std::string_view kEntrySignature = "PK\1\2";
constexpr std::string_view kEndSignature = "PK\5\6";
constexpr std::string_view kEnd64Signature = "PK\6\6";
constexpr std::string_view kLocatorSignature = "PK\6\7";
constexpr std::uint64_t kEndSize = 22;  // and a comment
constexpr std::uint64_t kEnd64Size = 56;
constexpr std::uint64_t kLocatorSize = 20;
constexpr std::uint64_t kMostComment = 0xffff;
constexpr std::uint64_t kMostDirectory = std::uint64_t{16} << 20;  // some 200,000 entries
constexpr std::uint32_t kInExtra = 0xffff'ffff;
constexpr std::uint16_t kZip64Extra = 1;

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Where the end record begins. It is the last thing in the file but for a comment, which PyTorch
// does not write.
std::expected<std::uint64_t, Stop> find_end(std::uint64_t file_size, const Peek& peek) {
  if (file_size < kEndSize) return std::unexpected(Stop::nonsense);
  for (const std::uint64_t most : {std::uint64_t{0}, kMostComment}) {
    const std::uint64_t size = std::min(file_size, kEndSize + most);
    const auto bytes = peek({file_size - size, size});
    if (!bytes || bytes->size() != size) return std::unexpected(Stop::missing);
    const std::string_view tail = as_text(*bytes);
    for (std::size_t at = tail.size() - kEndSize + 1; at-- > 0;) {
      if (!tail.substr(at).starts_with(kEndSignature)) continue;
      const auto low = static_cast<unsigned char>(tail[at + kEndSize - 2]);
      const auto high = static_cast<unsigned char>(tail[at + kEndSize - 1]);
      if (at + kEndSize + low + 256u * high == tail.size()) return file_size - size + at;
    }
  }
  return std::unexpected(Stop::nonsense);
}

// The central directory as ZIP64's end record tells it, if there is a locator in front of `end`.
std::expected<std::optional<ByteRange>, Stop> find_directory64(std::uint64_t end,
                                                               const Peek& peek) {
  if (end < kLocatorSize) return std::nullopt;
  HeaderReader locator(peek, {end - kLocatorSize, kLocatorSize});
  const bool found = locator.text(4) == kLocatorSignature;
  locator.skip(4);  // disk
  const auto at = locator.number<std::uint64_t>();
  if (!locator.ok()) return locator.stop();
  if (!found) return std::nullopt;
  if (at > end - kLocatorSize || end - kLocatorSize - at < kEnd64Size)
    return std::unexpected(Stop::nonsense);
  HeaderReader record(peek, {at, kEnd64Size});
  if (record.text(4) != kEnd64Signature) record.refuse();
  record.skip(8 + 2 + 2 + 4 + 4 + 8 + 8);  // size, versions, disks, counts
  const auto size = record.number<std::uint64_t>();
  const auto offset = record.number<std::uint64_t>();
  if (!record.ok()) return record.stop();
  if (offset > at || size > at - offset) return std::unexpected(Stop::nonsense);
  return ByteRange{offset, size};
}

std::expected<ByteRange, Stop> find_directory(std::uint64_t end, const Peek& peek) {
  const auto wide = find_directory64(end, peek);
  if (!wide) return std::unexpected(wide.error());
  if (*wide) return **wide;
  HeaderReader record(peek, {end, kEndSize});
  record.skip(4 + 2 + 2 + 2 + 2);  // signature, disks, counts
  const auto size = record.number<std::uint32_t>();
  const auto offset = record.number<std::uint32_t>();
  if (!record.ok()) return record.stop();
  if (offset > end || size > end - offset) return std::unexpected(Stop::nonsense);
  return ByteRange{offset, size};
}

// ARCHIVE/data/N. Others: data.pkl, version, byteorder, .data/serialization_id.
bool is_storage(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string_view::npos || slash + 1 == name.size()) return false;
  return name.substr(0, slash).ends_with("/data") &&
         std::ranges::all_of(name.substr(slash + 1), [](char c) { return c >= '0' && c <= '9'; });
}

// The offset in an entry's extra field of `size` bytes; `before` bytes stand in front of it.
std::uint64_t read_wide_offset(HeaderReader& in, std::uint64_t size, std::uint64_t before) {
  const std::uint64_t end = in.position() + size;
  while (in.ok() && end - in.position() >= 4) {
    const auto id = in.number<std::uint16_t>();
    const std::uint64_t length = in.number<std::uint16_t>();
    if (length > end - in.position()) break;
    if (id != kZip64Extra) {
      in.skip(length);
      continue;
    }
    if (length < before + 8) break;
    in.skip(before);
    const auto offset = in.number<std::uint64_t>();
    in.skip(end - in.position());
    return offset;
  }
  in.refuse();
  return 0;
}

struct Entry {
  std::uint64_t offset;
  bool storage;
};

Entry read_entry(HeaderReader& in) {
  if (in.text(4) != kEntrySignature) in.refuse();
  in.skip(2 + 2 + 2 + 2 + 2 + 2 + 4);  // versions, flags, method, time, date, CRC
  const auto compressed = in.number<std::uint32_t>();
  const auto size = in.number<std::uint32_t>();
  const auto name_size = in.number<std::uint16_t>();
  const auto extra_size = in.number<std::uint16_t>();
  const auto comment_size = in.number<std::uint16_t>();
  in.skip(2 + 2 + 4);  // disk, attributes
  const auto offset = in.number<std::uint32_t>();
  Entry entry{offset, is_storage(in.text(name_size))};
  if (offset == kInExtra)
    entry.offset = read_wide_offset(
        in, extra_size, (size == kInExtra ? 8u : 0u) + (compressed == kInExtra ? 8u : 0u));
  else
    in.skip(extra_size);
  in.skip(comment_size);
  return entry;
}

}  // namespace

Found read_torch_zip(std::uint64_t file_size, const Peek& peek) {
  // Most that are named so and are no archive (PyTorch before 1.6, other programs' .bin) end here.
  if (file_size < kEndSize) return std::unexpected(Stop::nonsense);
  const auto first = peek({0, kLocalSignature.size()});
  if (first && as_text(*first) != kLocalSignature) return std::unexpected(Stop::nonsense);

  const auto end = find_end(file_size, peek);
  if (!end) return std::unexpected(end.error());
  const auto directory = find_directory(*end, peek);
  if (!directory) return std::unexpected(directory.error());
  if (directory->size > kMostDirectory) return std::unexpected(Stop::nonsense);

  HeaderReader in(peek, *directory);
  std::vector<Entry> entries;
  while (in.ok() && in.left() > 0) entries.push_back(read_entry(in));
  if (!in.ok()) return in.stop();
  if (!std::ranges::is_sorted(entries, {}, &Entry::offset))
    std::ranges::sort(entries, {}, &Entry::offset);
  if (entries.empty() || entries.back().offset >= directory->offset)
    return std::unexpected(Stop::nonsense);
  entries.push_back({directory->offset, false});
  std::vector<ByteRange> parts;
  for (std::size_t i = 0; i + 1 < entries.size(); ++i)
    if (entries[i].storage)
      parts.push_back({entries[i].offset, entries[i + 1].offset - entries[i].offset});
  const std::uint64_t head = parts.empty() ? 0 : parts.front().offset;
  return settle(std::move(parts), head, file_size);
}

}  // namespace hffs::prefetch
