// SPDX-License-Identifier: Apache-2.0
//
// The contents that simulated stores hold, made once for all seeds, and a disk that forgets and fails.
// Threads: contents are constant; the disk is called by any.
#pragma once

#include <atomic>

#include "dice.h"
#include "faulty_disk.h"
#include "recording_disk.h"
#include "store_fixture.h"
#include "trial.h"

namespace hffs::test {

struct KnownContent {
  Bytes bytes;
  BlobId id;
};

inline const std::vector<KnownContent>& known_contents() {
  static const std::vector<KnownContent> all = [] {
    constexpr std::uint64_t kSizes[] = {0,          1,          100,        70'000,     kBlockSize - 1, kBlockSize,
                                        kBlockSize + 1, 300'000, 2 * kBlockSize, 2 * kBlockSize + 17, 5'000, 40'000};
    std::vector<KnownContent> made;
    for (std::size_t i = 0; i < std::size(kSizes); ++i) {
      Bytes bytes = content(900 + i, kSizes[i]);
      const BlobId id = id_of(bytes, i % 3 == 1 ? BlobId::Kind::git_sha1 : BlobId::Kind::sha256);
      made.push_back({std::move(bytes), id});
    }
    return made;
  }();
  return all;
}

// A block of it as it comes: 0 is right, each other version is wrong in its first byte.
inline Bytes block_of(const KnownContent& content, BlockIndex block, int version) {
  const ByteRange range = bytes_of(block, content.bytes.size());
  Bytes bytes(content.bytes.begin() + static_cast<std::ptrdiff_t>(range.offset),
              content.bytes.begin() + static_cast<std::ptrdiff_t>(range.end()));
  if (!bytes.empty()) bytes.front() ^= static_cast<std::byte>(version);
  return bytes;
}

// Its calls fail now and then while fail_percent is not 0.
class FailingDisk final : public RecordingDisk {
 public:
  FailingDisk(Trial& trial, std::uint64_t seed) : trial_(trial), seed_(seed) {}
  std::atomic<unsigned> fail_percent = 0;
  std::atomic<int> failing_op = 0;
  std::atomic<Code> failing_code = Code::io;

  Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) override {
    if (fails(Op::open, path)) return failure(Op::open);
    return RecordingDisk::open(path, flags, mode);
  }
  Result<void> pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) override {
    if (fails(Op::write)) {
      (void)RecordingDisk::pwrite_all(fd, bytes.first(bytes.size() / 2), offset);
      return failure(Op::write);
    }
    return RecordingDisk::pwrite_all(fd, bytes, offset);
  }
  Result<void> truncate(int fd, std::uint64_t size) override {
    if (fails(Op::truncate)) return failure(Op::truncate);
    return RecordingDisk::truncate(fd, size);
  }
  Result<void> sync_data(int fd) override {
    if (fails(Op::sync_data)) return failure(Op::sync_data);
    return RecordingDisk::sync_data(fd);
  }
  Result<void> sync_directory(const std::string& path) override {
    if (fails(Op::sync_directory, path)) return failure(Op::sync_directory);
    return RecordingDisk::sync_directory(path);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (fails(Op::rename, from + " " + to)) return failure(Op::rename);
    return RecordingDisk::rename(from, to);
  }
  Result<void> remove(const std::string& path) override {
    if (fails(Op::remove, path)) return failure(Op::remove);
    return RecordingDisk::remove(path);
  }

 private:
  bool fails(Op op, const std::string& path = {}) {
    trial_.note("    disk: {} {}", name_of(op), path.substr(path.find("hffs-v1") == path.npos ? 0 : path.find("hffs-v1") + 7));
    if (static_cast<int>(op) != failing_op) return false;
    return Dice{seed_, calls_++}.chance(fail_percent);
  }
  std::unexpected<Error> failure(Op op) { return fail(failing_code.load(), "{} fails here", name_of(op)); }

  Trial& trial_;
  const std::uint64_t seed_;
  std::atomic<std::uint64_t> calls_ = 0;
};

}  // namespace hffs::test
