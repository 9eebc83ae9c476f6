// SPDX-License-Identifier: Apache-2.0
#include "settler.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "blob_rows.h"

namespace hffs {
namespace {

// A commit costs two fdatasyncs and each directory one: shared by at most this many small blobs,
// which wait for each other before they are announced.
constexpr std::size_t kMostInBatch = 64;
constexpr std::chrono::milliseconds kLongestWait{50};
// Enough of the wrong bytes to see what went wrong (a proxy's error page, an LFS pointer), no more.
constexpr std::size_t kMostQuarantined = 4;
constexpr std::uint64_t kMostQuarantinedBytes = std::uint64_t{64} << 20;

}  // namespace

Result<void> Settler::place(const BlobInfo& info, const std::string& from) {
  const std::string folder = parts_.directory.blobs(info.id);
  if (!known_folders_.contains(folder)) {
    if (auto made = parts_.disk.make_directory(folder, 0700); !made) return made;
    known_folders_.insert(folder);
    parts_.names.note(parts_.directory.blobs());
  }
  // Where it came from need not be synced: a name that returns there is swept, or nobody's.
  auto moved = parts_.names.move(from, parts_.directory.blob(info.id), folder);
  if (!moved) known_folders_.erase(folder);
  return moved;
}

void Settler::add(std::shared_ptr<BlobFile> blob, Done<void> done) {
  put({std::move(blob), Verdict::right, std::move(done)});
}

void Settler::put(Change change) {
  if (batch_.empty()) batch_since_ = std::chrono::steady_clock::now();
  batch_.push_back(std::move(change));
}

void Settler::quarantine(std::shared_ptr<BlobFile> blob) {
  const BlobInfo& info = blob->identity();
  log(Level::error, "store", "the {} bytes of blob {} do not have that hash: quarantined",
      info.size, info.id.hex());
  begin_again(std::move(blob), Verdict::wrong);
}

void Settler::give_up(std::shared_ptr<BlobFile> blob) {
  log(Level::error, "store", "the file of blob {} is gone or too short; it is fetched again",
      blob->identity().id.hex());
  begin_again(std::move(blob), Verdict::lost);
}

// The file goes first: in blobs/ it would be believed again. And for good: the directory is synced
// before the index forgets that the blob was verified.
Result<void> Settler::withdraw(std::shared_ptr<BlobFile> blob) {
  if (blob->superseded()) return {};  // somebody who reads it found it too short: that is under way
  const BlobInfo& info = blob->identity();
  if (auto moved = keep_or_remove_wrong(*blob); !moved) return moved;
  log(Level::error, "store", "the {} bytes of blob {} do not have that hash any more: quarantined",
      info.size, info.id.hex());
  parts_.names.note(parts_.directory.blobs(info.id));
  blob->retire();
  put({std::move(blob), Verdict::wrong, {}});
  return {};
}

void Settler::begin_again(std::shared_ptr<BlobFile> blob, Verdict verdict) {
  if (!blob->retire()) return;
  // What stays in filling/ is written over by the next incarnation: nothing of it is claimed any more.
  if (auto moved = keep_or_remove_wrong(*blob); !moved)
    log(Level::warn, "store", "the wrong bytes stay: {}", moved.error().message);
  put({std::move(blob), verdict, {}});
}

Result<void> Settler::keep_or_remove_wrong(BlobFile& blob) {
  const BlobInfo& info = blob.identity();
  if (info.size <= kMostQuarantinedBytes) {
    trim_quarantine();
    const std::string to = parts_.directory.quarantine(info.id, info.number, info.incarnation);
    if (parts_.disk.rename(blob.path(), to)) return {};
  }
  auto removed = parts_.disk.remove(blob.path());
  if (removed) blob.note_unlinked(blob.now().bytes_here);
  return removed;
}

// Leaves room for one more.
void Settler::trim_quarantine() {
  const std::string folder = parts_.directory.quarantine();
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), &::closedir);
  if (!directory) return;
  std::vector<std::pair<std::int64_t, std::string>> files;  // by age
  while (const dirent* item = ::readdir(directory.get())) {
    const std::string path = fmt::format("{}/{}", folder, item->d_name);
    struct stat found {};
    if (::lstat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode))
      files.emplace_back(found.st_mtim.tv_sec, path);
  }
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i + kMostQuarantined <= files.size(); ++i)
    (void)parts_.disk.remove(files[i].second);
}

bool Settler::batch_is_due() const {
  if (batch_.empty()) return false;
  return batch_.size() >= kMostInBatch ||
         std::chrono::steady_clock::now() - batch_since_ >= kLongestWait;
}

void Settler::commit() {
  {
    auto failed = failed_.lock();
    std::move(failed->changes.begin(), failed->changes.end(), std::back_inserter(batch_));
    failed->changes.clear();
    failed->why.reset();
  }
  if (auto synced = parts_.names.sync(); !synced) {
    auto failed = failed_.lock();
    failed->why = std::move(synced.error());
    // Commits that end meanwhile may have added theirs.
    std::move(batch_.begin(), batch_.end(), std::back_inserter(failed->changes));
    batch_.clear();
    return;
  }
  for (Change& change : std::exchange(batch_, {})) {
    const BlobInfo& info = change.blob->identity();
    parts_.index.write(
        [number = info.number, incarnation = info.incarnation,
         right = change.verdict == Verdict::right](WriteTxn& txn) {
          begin_incarnation(txn, number, incarnation, right);
        },
        [this, change = std::move(change)](Result<void> committed) mutable {
          finish(std::move(change), std::move(committed));
        });
  }
}

void Settler::finish(Change change, Result<void> committed) {
  if (!committed) {
    auto failed = failed_.lock();
    failed->why = std::move(committed.error());
    failed->changes.push_back(std::move(change));
    return;
  }
  parts_.blobs.close(*change.blob);
  parts_.syncer.forget(*change.blob);
  switch (change.verdict) {
    case Verdict::right:
      parts_.metrics.add(Metric::blobs_verified);
      break;
    case Verdict::wrong:
      parts_.metrics.add(Metric::blobs_quarantined);
      break;
    case Verdict::lost:
      parts_.metrics.add(Metric::blobs_lost);
      break;
  }
  BlobInfo next = change.blob->identity();
  ++next.incarnation;
  next.verified = change.verdict == Verdict::right;
  next.bytes_here = next.verified ? next.size : 0;
  // What was right when it came is not its origin's fault.
  next.lost = change.verdict == Verdict::lost || change.blob->identity().verified;
  change.blob.reset();
  if (change.done) change.done({});
  parts_.listener.tell(next);
}

std::optional<Error> Settler::stuck() const {
  return failed_.lock()->why;
}

void Settler::abandon(const Error& why) {
  auto changes = std::exchange(failed_.lock()->changes, {});
  for (Change& change : changes)
    if (change.done) change.done(fail(why));
}

}  // namespace hffs
