// SPDX-License-Identifier: Apache-2.0
#include "blob_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace hffs {

BlobFile::BlobFile(std::shared_ptr<const BlobContext> context, BlobInfo info, std::string path,
                   UniqueFd file)
    : context_(std::move(context)),
      info_(std::move(info)),
      path_(std::move(path)),
      file_(std::move(file)),
      blocks_(info_.verified ? 0 : block_count(info_.size)) {}

std::shared_ptr<BlobFile> BlobFile::filling(std::shared_ptr<const BlobContext> context,
                                            BlobInfo info, std::string path, UniqueFd file,
                                            const Bitmap& claimed) {
  info.bytes_here = claimed.bytes(info.size);
  std::shared_ptr<BlobFile> made(
      new BlobFile(std::move(context), std::move(info), std::move(path), std::move(file)));
  made->blocks_.assign(claimed);
  made->durable_ = claimed;
  made->claimed_ = claimed;
  made->resumed_ = !claimed.empty();
  return made;
}

std::shared_ptr<BlobFile> BlobFile::verified(std::shared_ptr<const BlobContext> context,
                                             BlobInfo info, std::string path, UniqueFd file) {
  info.bytes_here = info.size;
  std::shared_ptr<BlobFile> made(
      new BlobFile(std::move(context), std::move(info), std::move(path), std::move(file)));
  made->whole_ = true;
  return made;
}

BlobFile::~BlobFile() {
  add_unclaimed(-unclaimed_bytes_.load());
  context_->usage->unlinked_bytes.fetch_sub(unlinked_bytes_);
}

BlobInfo BlobFile::now() const {
  BlobInfo info = info_;
  if (retired())
    info.bytes_here = 0;
  else
    info.bytes_here = whole() ? info_.size : blocks_.snapshot().bytes(info_.size);
  return info;
}

bool BlobFile::block_readable(BlockIndex block) const {
  if (blocks_.test(block)) return true;
  if (held_count_.load(std::memory_order_acquire) == 0) return false;
  return held_.lock()->contains(block);
}

bool BlobFile::readable(ByteRange range) const {
  const BlockRun run = blocks_of(clip(range, info_.size));
  if (whole() || run.count == 0) return true;
  if (retired()) return false;
  if (blocks_.all(run)) return true;
  for (BlockIndex block = run.first; block < run.end(); ++block)
    if (!block_readable(block)) return false;
  return true;
}

std::vector<BlockRun> BlobFile::missing(ByteRange range) const {
  const BlockRun run = blocks_of(clip(range, info_.size));
  if (whole() || run.count == 0) return {};
  if (retired()) return {run};
  return missing_runs(run, [this](BlockIndex block) { return block_readable(block); });
}

Result<std::size_t> BlobFile::read_file(int fd, std::uint64_t offset,
                                        std::span<std::byte> into) const {
  auto count = context_->disk.pread_some(fd, into, offset);
  if (!count) return fail(std::move(count.error()).during(fmt::format("blob {}", info_.id.hex())));
  if (*count == into.size()) return count;
  if (!lost_.exchange(true))
    context_->verify(std::const_pointer_cast<BlobFile>(shared_from_this()));
  return fail(Code::corrupt, "{} ends before byte {}", path_, offset + into.size());
}

bool BlobFile::has_no_name() const {
  struct stat found {};
  return file_ && ::fstat(file_.get(), &found) == 0 && found.st_nlink == 0;
}

Result<void> BlobFile::read_held(BlockIndex block, std::uint64_t offset,
                                 std::span<std::byte> into) const {
  auto held = held_.lock();
  const auto found = held->find(block);
  if (found == held->end())
    return fail(Code::corrupt, "block {} of blob {} is not here", block, info_.id.hex());
  const auto bytes = found->second.bytes.subspan(offset - block * kBlockSize, into.size());
  std::copy(bytes.begin(), bytes.end(), into.begin());
  return {};
}

Result<std::size_t> BlobFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  const ByteRange range = clip({offset, into.size()}, info_.size);
  if (range.empty()) return 0;
  into = into.first(range.size);
  if (whole()) return read_file(adopted_ ? adopted_.get() : file_.get(), offset, into);
  if (retired())
    return fail(Code::corrupt, "blob {} is fetched again from its beginning", info_.id.hex());
  const BlockRun run = blocks_of(range);
  if (blocks_.all(run)) return read_file(file_.get(), offset, into);
  for (BlockIndex block = run.first; block < run.end(); ++block) {
    const ByteRange whole_block = bytes_of(block, info_.size);
    const std::uint64_t begin = std::max(whole_block.offset, range.offset);
    const auto part =
        into.subspan(begin - range.offset, std::min(whole_block.end(), range.end()) - begin);
    if (blocks_.test(block)) {
      if (auto count = read_file(file_.get(), begin, part); !count) return fail(count);
    } else if (auto copied = read_held(block, begin, part); !copied) {
      return fail(copied);
    }
  }
  return into.size();
}

void BlobFile::write(BlockIndex first, std::vector<std::byte> bytes, Done<void> done) {
  PendingWrite pending{shared_from_this(), first, std::move(bytes), std::move(done)};
  if (!context_->writes->push(std::move(pending)))
    pending.done(fail(Code::cancelled, "the store is being closed"));
}

Result<void> BlobFile::open_file() {
  if (file_) return {};
  auto opened = context_->disk.open(path_, O_RDWR | O_CREAT, kBlobMode);
  if (!opened) return fail(opened);
  file_ = std::move(*opened);
  fresh_name_ = true;
  return {};
}

Result<void> BlobFile::accept(BlockIndex first, std::span<const std::byte> bytes,
                              std::uint64_t& added) {
  const std::uint64_t begin = first * kBlockSize;
  const std::uint64_t end = begin + bytes.size();
  if (end > info_.size || (end != info_.size && end % kBlockSize != 0))
    return fail(Code::bug, "bytes {} to {} of blob {} are not whole blocks", begin, end,
                info_.id.hex());
  const std::lock_guard lock(mutex_);
  if (retired()) return fail(Code::stale, "blob {} has a new incarnation", info_.id.hex());
  if (whole() || settling_) return {};
  const BlockRun run = blocks_of({begin, bytes.size()});
  for (BlockIndex block = run.first; block < run.end();) {
    BlockRun fresh{block, 0};
    while (fresh.end() < run.end() && !blocks_.test(fresh.end())) ++fresh.count;
    block = fresh.end() + 1;  // the one behind `fresh` is readable, or behind the run
    if (fresh.count == 0) continue;
    if (auto opened = open_file(); !opened) return fail(opened);
    const ByteRange range = bytes_of(fresh, info_.size);
    const auto part = bytes.subspan(range.offset - begin, range.size);
    if (auto put = context_->disk.pwrite_all(file_.get(), part, range.offset); !put)
      return fail(std::move(put.error()).during(path_));
    blocks_.set(fresh);
    add_unclaimed(static_cast<std::int64_t>(range.size));
    added += range.size;
    for (BlockIndex b = fresh.first; b < fresh.end(); ++b) drop_held(b);
  }
  return {};
}

void BlobFile::hold(BlockIndex block, HeldBlock held) {
  auto all = held_.lock();
  all->insert_or_assign(block, std::move(held));
  held_count_.store(static_cast<int>(all->size()), std::memory_order_release);
}

void BlobFile::drop_held(BlockIndex block) {
  if (held_count_.load(std::memory_order_relaxed) == 0) return;
  auto all = held_.lock();
  all->erase(block);
  held_count_.store(static_cast<int>(all->size()), std::memory_order_release);
}

std::optional<HeldBlock> BlobFile::held(BlockIndex block) const {
  auto all = held_.lock();
  const auto found = all->find(block);
  if (found == all->end()) return std::nullopt;
  return found->second;
}

void BlobFile::add_unclaimed(std::int64_t bytes) {
  unclaimed_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  context_->usage->unclaimed_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void BlobFile::give_back(std::uint64_t bytes) {
  context_->usage->held_bytes.fetch_sub(static_cast<std::int64_t>(bytes));
}

void BlobFile::forget_volatile() {
  give_back(blocks_.snapshot().bytes(info_.size) - durable_.bytes(info_.size));
  blocks_.assign(durable_);
  const std::uint64_t unclaimed = durable_.bytes(info_.size) - claimed_.bytes(info_.size);
  add_unclaimed(static_cast<std::int64_t>(unclaimed) - unclaimed_bytes_.load());
}

Result<Bitmap> BlobFile::sync() {
  const std::lock_guard one_sync(sync_mutex_);
  // Before the sync starts: what is written while it runs is not promised to be in it.
  Bitmap durable = blocks_.snapshot();
  auto synced = context_->disk.sync_data(file_.get());
  std::unique_lock lock(mutex_);
  if (synced) {
    durable_.merge(durable);
    return durable;
  }
  // The kernel reports a lost page once; the next fdatasync would succeed without it.
  ++failed_syncs_;
  const bool forget = !settling_ && takes_blocks();
  if (forget) forget_volatile();
  lock.unlock();
  if (forget) give_no_verdict(synced.error());
  return fail(std::move(synced.error()).during(path_));
}

void BlobFile::note_claimed(const Bitmap& blocks) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t before = claimed_.bytes(info_.size);
  claimed_.merge(blocks);
  if (whole() || retired()) return;
  const auto added = static_cast<std::int64_t>(claimed_.bytes(info_.size) - before);
  add_unclaimed(-std::min(added, unclaimed_bytes_.load()));
}

bool BlobFile::begin_settling(std::uint64_t failed_syncs) {
  const std::lock_guard lock(mutex_);
  if (failed_syncs != failed_syncs_ || !blocks_.full() || retired()) return false;
  settling_ = true;
  return true;
}

void BlobFile::when_settled(Done<void> done) {
  Result<void> now;
  {
    const std::lock_guard lock(mutex_);
    if (takes_blocks() && blocks_.full()) {
      waiting_.push_back(std::move(done));
      return;
    }
    if (takes_blocks()) now = fail(Code::io, "not all of blob {} is kept on the disk", info_.id.hex());
  }
  done(std::move(now));
}

void BlobFile::give_no_verdict(const Error& why) {
  tell_settled(fail(why));
}

void BlobFile::tell_settled(const Result<void>& how) {
  std::vector<Done<void>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(waiting_);
  }
  for (auto& done : waiting) done(how);
}

void BlobFile::cancel_settling(std::uint64_t failed_syncs) {
  const std::lock_guard lock(mutex_);
  settling_ = false;
  if (failed_syncs != failed_syncs_) forget_volatile();
}

void BlobFile::become_whole(UniqueFd adopted) {
  std::unique_lock lock(mutex_);
  if (whole()) return;
  // The file that was filled goes for the one that is adopted, which has room reserved.
  if (adopted) give_back(blocks_.snapshot().bytes(info_.size));
  adopted_ = std::move(adopted);
  settling_ = false;
  add_unclaimed(-unclaimed_bytes_.load());
  whole_.store(true, std::memory_order_release);
  lock.unlock();
  tell_settled({});
}

bool BlobFile::retire() {
  std::unique_lock lock(mutex_);
  if (retired_ || (whole_ && !info_.verified)) return false;
  settling_ = false;
  give_back(whole_ ? info_.size : blocks_.snapshot().bytes(info_.size));
  add_unclaimed(-unclaimed_bytes_.load());
  retired_.store(true, std::memory_order_release);
  lock.unlock();
  tell_settled({});
  return true;
}

std::optional<std::uint64_t> BlobFile::retire_to_evict() {
  const std::lock_guard lock(mutex_);
  if (settling_ || retired() || (whole() && !info_.verified)) return std::nullopt;
  add_unclaimed(-unclaimed_bytes_.load());
  const std::uint64_t bytes = whole() ? info_.size : blocks_.snapshot().bytes(info_.size);
  retired_.store(true, std::memory_order_release);
  return bytes;
}

void BlobFile::note_unlinked(std::uint64_t bytes) {
  unlinked_bytes_ += static_cast<std::int64_t>(bytes);
  context_->usage->unlinked_bytes.fetch_add(static_cast<std::int64_t>(bytes));
}

}  // namespace hffs
