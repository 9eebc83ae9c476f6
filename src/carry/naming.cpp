// SPDX-License-Identifier: Apache-2.0
#include "naming.h"

#include <algorithm>
#include <span>

#include "hffs/posix.h"

namespace hffs::carry {
namespace {

constexpr std::uint64_t kLargeFile = std::uint64_t{10} << 20;
constexpr std::size_t kLookedAt = 8'000;
constexpr std::size_t kPiece = std::size_t{1} << 20;

}  // namespace

Result<BlobId> hash_file(int fd, std::uint64_t size, BlobId::Kind kind, const std::stop_token& stop,
                         const Counted& counted) {
  auto hash = ContentHash::start(kind, size);
  if (!hash) return fail(hash);
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kPiece, size));
  for (std::uint64_t at = 0; at < size;) {
    if (stop.stop_requested()) return fail(Code::cancelled, "stopped");
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    auto count = system_disk().pread_some(fd, part, at);
    if (!count) return fail(count);
    if (*count != part.size()) return fail(Code::corrupt, "it ends at byte {}", at + *count);
    if (auto fed = hash->update(part); !fed) return fail(fed);
    at += part.size();
    counted(part.size());
  }
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

Result<CommitId> commit_of(std::vector<Attestation::File> files) {
  std::ranges::sort(files, {}, &Attestation::File::path);
  std::string text;
  for (const auto& file : files)
    text += fmt::format("{} {} {}\n", file.blob.hex(), file.size, file.path);
  auto hash = ContentHash::start(BlobId::Kind::git_sha1, text.size());
  if (!hash) return fail(hash);
  if (auto fed = hash->update(std::as_bytes(std::span(text))); !fed) return fail(fed);
  auto hex = hash->finish();
  if (!hex) return fail(hex);
  return CommitId::parse(*hex);
}

}  // namespace hffs::carry
