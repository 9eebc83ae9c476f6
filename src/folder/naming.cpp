// SPDX-License-Identifier: Apache-2.0
#include "hffs/naming.h"

#include <algorithm>
#include <span>

#include "hffs/folder.h"

namespace hffs {
namespace {

constexpr std::uint64_t kLargeFile = std::uint64_t{10} << 20;
constexpr std::size_t kLookedAt = 8'000;

}  // namespace

Result<BlobId> hash_file(int fd, std::uint64_t size, BlobId::Kind kind, const std::stop_token& stop,
                         const Counted& counted) {
  auto hash = ContentHash::start(kind, size);
  if (!hash) return fail(hash);
  auto read = read_pieces(fd, size, stop, [&](std::uint64_t, std::span<const std::byte> piece) {
    auto fed = hash->update(piece);
    if (fed) counted(piece.size());
    return fed;
  });
  if (!read) return fail(read);
  auto hex = hash->finish();
  if (!hex) return fail(hex);
  return BlobId::parse(*hex);
}

Result<BlobId::Kind> kind_of_file(int fd, std::uint64_t size) {
  if (size >= kLargeFile) return BlobId::Kind::sha256;
  std::vector<std::byte> head(std::min<std::uint64_t>(kLookedAt, size));
  auto count = system_disk().pread_some(fd, head, 0);
  if (!count) return fail(count);
  head.resize(*count);
  return std::ranges::find(head, std::byte{0}) != head.end() ? BlobId::Kind::sha256
                                                             : BlobId::Kind::git_sha1;
}

Result<CommitId> commit_of(std::vector<TreeEntry> files) {
  std::ranges::sort(files, {}, &TreeEntry::path);
  std::string text;
  for (const TreeEntry& file : files)
    text += fmt::format("{} {} {}\n", file.blob->hex(), file.size, file.path);
  auto hash = ContentHash::start(BlobId::Kind::git_sha1, text.size());
  if (!hash) return fail(hash);
  if (auto fed = hash->update(std::as_bytes(std::span(text))); !fed) return fail(fed);
  auto hex = hash->finish();
  if (!hex) return fail(hex);
  return CommitId::parse(*hex);
}

}  // namespace hffs
