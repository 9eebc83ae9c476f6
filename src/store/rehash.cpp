// SPDX-License-Identifier: Apache-2.0
#include "rehash.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/content_hash.h"
#include "read_ahead.h"

namespace hffs {
namespace {

// Stays in a processor's own cache between the copy and the hash.
constexpr std::uint64_t kPiece = std::uint64_t{256} << 10;
constexpr std::uint64_t kWindow = std::uint64_t{1} << 30;  // of address space
constexpr int kRehashNice = 15;

// The pages of a file that were in memory, by block: one that had any is left alone.
class CachedBlocks {
 public:
  CachedBlocks(int fd, std::uint64_t size);
  bool test(BlockIndex block) const { return cached_[block]; }

 private:
  std::vector<bool> cached_;
};

CachedBlocks::CachedBlocks(int fd, std::uint64_t size) : cached_(block_count(size)) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages;
  for (std::uint64_t at = 0; at < size; at += kWindow) {
    const std::uint64_t length = std::min(kWindow, size - at);
    void* memory =
        ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(at));
    if (memory == MAP_FAILED) return;
    pages.assign((length + page - 1) / page, 0);
    if (::mincore(memory, length, pages.data()) == 0)
      for (std::size_t i = 0; i < pages.size(); ++i)
        if ((pages[i] & 1) != 0) cached_[(at + i * page) / kBlockSize] = true;
    ::munmap(memory, length);
  }
}

// Of the blocks that lie between these bytes.
void drop_pages(int fd, const CachedBlocks& cached, std::uint64_t from, std::uint64_t to) {
  for (BlockIndex block = from / kBlockSize; block * kBlockSize < to; ++block)
    if (!cached.test(block))
      ::posix_fadvise(fd, static_cast<off_t>(block * kBlockSize), kBlockSize, POSIX_FADV_DONTNEED);
}

}  // namespace

Result<std::string> rehash(Disk& disk, const std::string& path, BlobId::Kind kind,
                           const std::stop_token& stop,
                           const std::function<void(std::uint64_t bytes)>& tell) {
  auto file = disk.open(path, O_RDONLY, 0);
  if (!file) return fail(file);
  struct stat found {};
  if (::fstat(file->get(), &found) != 0) return fail(system_error(errno, path));
  const auto size = static_cast<std::uint64_t>(found.st_size);
  auto hash = ContentHash::start(kind, size);
  if (!hash) return fail(hash);
  const CachedBlocks cached(file->get(), size);
  std::vector<std::byte> buffer(std::min(kPiece, size));
  ReadAhead ahead(size);
  std::uint64_t at = 0, dropped = 0;
  const auto feed = [&](std::span<std::byte> part) -> Result<void> {
    if (stop.stop_requested()) return fail(Code::cancelled, "stopped");
    auto count = disk.pread_some(file->get(), part, at);
    if (!count) return fail(count);
    if (*count != part.size()) return fail(Code::io, "it ends at byte {}", at + *count);
    return hash->update(part);
  };
  Result<void> read;
  while (at < size) {
    ahead.reach(file->get(), at);
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    if (read = feed(part); !read) break;
    at += part.size();
    tell(part.size());
    if (at - dropped < ReadAhead::kAhead) continue;
    drop_pages(file->get(), cached, dropped, at);
    dropped = at / kBlockSize * kBlockSize;
  }
  // What was asked for and not read, and the pages that were just being read.
  drop_pages(file->get(), cached, 0, std::min(size, std::max(at, ahead.asked())));
  if (!read) return fail(std::move(read.error()).during(path));
  return hash->finish();
}

void forget_pages(Disk& disk, const std::string& path) {
  if (auto file = disk.open(path, O_RDONLY, 0))
    ::posix_fadvise(file->get(), 0, 0, POSIX_FADV_DONTNEED);
}

void stand_back() {
  // linux/ioprio.h, which old kernel headers lack: this thread, the idle class.
  constexpr int kThread = 1, kIdle = 3 << 13;
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kRehashNice);
  (void)::syscall(SYS_ioprio_set, kThread, 0, kIdle);
}

}  // namespace hffs
