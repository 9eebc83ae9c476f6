// SPDX-License-Identifier: Apache-2.0
//
// BlobFile: one incarnation of a blob in memory: its file, and which of its blocks are readable.
//
// What can happen to a filling one: blocks arrive; it becomes *whole* (every byte is there, right
// and durable; its row follows at the next commit) or is *retired* (its bytes were wrong, or lost;
// nothing of it is readable any more). A readable block is never written again, so that what was hashed
// stays what is read; the one exception is a failed sync, after which the kernel may have dropped
// what it could not write, and the blocks that no earlier sync made durable are forgotten.
//
// Threads: reading takes no lock. Changes are made under mutex_, by the thread that each function
// names. Lock order: sync_mutex_, mutex_, held_.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitmap.h"
#include "hffs/content_hash.h"
#include "hffs/guarded.h"
#include "hffs/posix.h"
#include "hffs/store.h"
#include "usage_counters.h"
#include "work_queue.h"

namespace hffs {

class BlobFile;

// Of a blob's file, in filling/ and in blobs/.
inline constexpr mode_t kBlobMode = 0600;

struct PendingWrite {
  std::shared_ptr<BlobFile> blob;  // none: `done` only marks a place in the queue
  BlockIndex first = 0;
  std::vector<std::byte> bytes;
  Done<void> done;
};

// Hears of blobs that the verify thread should look at, while there is one.
using ToVerify = std::function<void(const std::shared_ptr<BlobFile>&)>;

// What blobs need of their store. Blobs keep it alive; their store may be gone before them.
struct BlobContext {
  Disk& disk;
  std::shared_ptr<UsageCounters> usage;
  std::shared_ptr<WorkQueue<PendingWrite>> writes;
  mutable Guarded<ToVerify> to_verify;

  void verify(const std::shared_ptr<BlobFile>& blob) const {
    if (auto tell = to_verify.lock(); *tell) (*tell)(blob);
  }
};

// A block that could not be written and is served from memory for a while.
struct HeldBlock {
  std::shared_ptr<const std::vector<std::byte>> buffer;
  std::span<const std::byte> bytes;
};

// How far a filling blob is hashed.
struct Hashing {
  ContentHash hash;
  std::uint64_t position = 0;
  std::uint64_t failed_syncs = 0;  // those of the blob when hashing began
};

class BlobFile final : public Blob, public std::enable_shared_from_this<BlobFile> {
 public:
  // `file` may be empty: it is then made by the first write.
  static std::shared_ptr<BlobFile> filling(std::shared_ptr<const BlobContext> context,
                                           BlobInfo info, std::string path, UniqueFd file,
                                           const Bitmap& claimed);
  static std::shared_ptr<BlobFile> verified(std::shared_ptr<const BlobContext> context,
                                            BlobInfo info, std::string path, UniqueFd file);
  ~BlobFile() override;

  const BlobInfo& identity() const override { return info_; }
  bool readable(ByteRange range) const override;
  std::vector<BlockRun> missing(ByteRange range) const override;
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) const override;
  void write(BlockIndex first, std::vector<std::byte> bytes, Done<void> done) override;

  const std::string& path() const { return path_; }
  BlobInfo now() const;
  bool whole() const override { return whole_.load(std::memory_order_acquire) && !retired(); }
  void when_settled(Done<void> done) override;
  bool retired() const { return retired_.load(std::memory_order_acquire) || lost(); }
  // A read went beyond the end of its file. The verify thread retires it.
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // Its file has been removed by somebody else.
  bool has_no_name() const;
  // Whether the index has, or is about to have, a later incarnation.
  bool superseded() const override { return retired() || (whole() && !info_.verified); }
  // accept() may add to it.
  bool takes_blocks() const { return !whole() && !retired(); }
  const BlockMap& blocks() const { return blocks_; }
  // Some blocks were here when it was opened, so hashing would have to read them from the disk.
  bool resumed() const { return resumed_; }

  // Writer thread. An error if some of `bytes` are not in the file; `added`, in any case, are those
  // that became readable.
  Result<void> accept(BlockIndex first, std::span<const std::byte> bytes, std::uint64_t& added);
  // Writer thread: serves a block from memory, and no longer.
  void hold(BlockIndex block, HeldBlock held);
  void drop_held(BlockIndex block);
  std::optional<HeldBlock> held(BlockIndex block) const;

  // Sync and verify threads. The blocks that are durable now. A failure forgets all that are not.
  Result<Bitmap> sync();
  // The name of a file made since the last call is not durable yet.
  bool take_fresh_name() { return fresh_name_.exchange(false); }
  void set_fresh_name() { fresh_name_ = true; }
  // The index has committed a claim for these.
  void note_claimed(const Bitmap& blocks);
  bool has_unclaimed() const { return unclaimed_bytes_.load(std::memory_order_relaxed) > 0; }
  std::uint64_t failed_syncs() const { return failed_syncs_.load(); }

  // Verify thread. False, and nothing changes, unless all blocks are readable and no sync failed
  // since `failed_syncs`; else no block is written or forgotten until settle or cancel.
  bool begin_settling(std::uint64_t failed_syncs);
  void cancel_settling(std::uint64_t failed_syncs);
  // Tells who waits for the verdict that there is none now.
  void give_no_verdict(const Error& why);
  // Every byte is right and durable, in this file or in `adopted`.
  void become_whole(UniqueFd adopted = {});
  // False: it was before, or it is whole and its next incarnation, which is verified, is what counts.
  bool retire();
  // Any thread: what it became was found wrong. Nothing of it is readable any more.
  void disown() { lost_.store(true, std::memory_order_release); }
  // Eviction thread. Nothing of it is readable any more, as after retire(), but its bytes are still on
  // the disk: their number. Nullopt, and nothing changes, while a change of its state is under way.
  std::optional<std::uint64_t> retire_to_evict();
  // Its file has no name any more. Until it is closed its bytes are counted apart.
  void note_unlinked(std::uint64_t bytes);

  std::unique_ptr<Hashing> hashing;           // verify thread only
  std::atomic<bool> queued_to_verify{false};  // owned by the verifier's queue

 private:
  BlobFile(std::shared_ptr<const BlobContext> context, BlobInfo info, std::string path,
           UniqueFd file);
  bool block_readable(BlockIndex block) const;
  Result<std::size_t> read_file(int fd, std::uint64_t offset, std::span<std::byte> into) const;
  Result<void> read_held(BlockIndex block, std::uint64_t offset, std::span<std::byte> into) const;
  Result<void> open_file();
  void add_unclaimed(std::int64_t bytes);  // below: mutex_ is held
  void give_back(std::uint64_t bytes);     // of those on the disk
  void forget_volatile();
  void tell_settled(const Result<void>& how);  // without mutex_

  const std::shared_ptr<const BlobContext> context_;
  const BlobInfo info_;
  const std::string path_;
  bool resumed_ = false;
  UniqueFd file_;     // set before the first block is readable, then constant
  UniqueFd adopted_;  // set before whole_, then constant
  BlockMap blocks_;
  std::atomic<bool> whole_{false};
  std::atomic<bool> retired_{false};
  mutable std::atomic<bool> lost_{false};
  std::atomic<bool> fresh_name_{false};
  std::atomic<std::uint64_t> failed_syncs_{0};
  std::atomic<std::int64_t> unclaimed_bytes_{0};
  std::atomic<std::int64_t> unlinked_bytes_{0};
  std::atomic<int> held_count_{0};
  mutable Guarded<std::map<BlockIndex, HeldBlock>> held_;
  // One sync at a time: the kernel tells each descriptor an error only once.
  std::mutex sync_mutex_;
  std::mutex mutex_;
  Bitmap durable_;  // below: guarded by mutex_; those of a sync that succeeded
  Bitmap claimed_;  // … and of a commit
  bool settling_ = false;
  std::vector<Done<void>> waiting_;  // for the verdict
};

}  // namespace hffs
