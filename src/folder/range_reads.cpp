// SPDX-License-Identifier: Apache-2.0
//
// Bytes: one open file for each range, one piece after the other.
#include <unistd.h>

#include "folder_origin.h"
#include "hffs/posix.h"

namespace hffs::folder {
namespace {

// The sink, once: who has the handle of a range that is over keeps nothing else of it. A sink may have
// the handle in turn.
std::shared_ptr<RangeSink> let_go(RangeRead& range) {
  range.fd.reset();
  range.piece = {};
  return std::exchange(range.sink, nullptr);
}

class Fetch final : public RangeFetch {
 public:
  Fetch(std::shared_ptr<FolderOrigin> origin, std::shared_ptr<RangeRead> read)
      : origin_(std::move(origin)), read_(std::move(read)) {}
  void resume() override { origin_->resume(read_); }
  void cancel() override { origin_->cancel(read_); }

 private:
  const std::shared_ptr<FolderOrigin> origin_;
  const std::shared_ptr<RangeRead> read_;
};

}  // namespace

std::shared_ptr<RangeFetch> FolderOrigin::fetch_range(const FileSource& file, ByteRange range,
                                                      std::shared_ptr<RangeSink> sink) {
  auto read = std::make_shared<RangeRead>(
      RangeRead{.file = file, .range = range, .sink = std::move(sink), .at = range.offset});
  read->place = fmt::format("{}/{}", file.repo.layout(), file.path);
  if (!post([self = shared_from_this(), read] { self->begin(read); }))
    let_go(*read)->on_done(fail(Code::cancelled, "shutting down"));
  return std::make_shared<Fetch>(shared_from_this(), std::move(read));
}

void FolderOrigin::resume(const std::shared_ptr<RangeRead>& read) {
  post([self = shared_from_this(), read] {
    if (std::exchange(read->paused, false)) self->deliver(read);
  });
}

void FolderOrigin::cancel(const std::shared_ptr<RangeRead>& read) {
  post([self = shared_from_this(), read] { self->end(read, fail(Code::cancelled, "cancelled")); });
}

void FolderOrigin::note_wrong(const BlobId& blob, std::uint64_t size) {
  post([self = shared_from_this(), key = BlobKey(blob, size)] {
    const auto given = self->given_.find(key);
    if (given != self->given_.end()) self->wrong_.insert_or_assign(key, given->second);
  });
}

Descriptor FolderOrigin::keep(UniqueFd fd) {
  return Descriptor(new int(fd.release()), [self = shared_from_this()](const int* number) {
    self->readers_.run("closing", [fd = *number](const Io&) { ::close(fd); });
    delete number;
  });
}

void FolderOrigin::begin(const std::shared_ptr<RangeRead>& range) {
  if (range->range.empty() || range->range.end() > range->file.size)
    return let_go(*range)->on_done(fail(Code::bug, "a range outside of the file"));
  if (auto error = refusal(range->place)) return let_go(*range)->on_done(fail(std::move(*error)));
  range->id = enter({.place = range->place,
                     .deadline = {},
                     .fail = [range](Error error) { let_go(*range)->on_done(hffs::fail(std::move(error))); },
                     .doing = {}});
  find(range);
}

void FolderOrigin::find(const std::shared_ptr<RangeRead>& range) {
  read<Candidate>(
      readers_, range->id, range->place,
      [range](const Folder& folder, const Io&) { return find_content(folder, range->file); },
      [self = shared_from_this(), range](Result<Candidate> candidate) {
        self->found(range, std::move(candidate));
      });
}

void FolderOrigin::found(const std::shared_ptr<RangeRead>& range, Result<Candidate> candidate) {
  if (!candidate) return end(range, fail(candidate));
  // Kept in any case: closing it may hang.
  const Descriptor fd = keep(std::move(candidate->fd));
  const std::string place = candidate->place;
  const Stamp stamp = candidate->stamp;
  const BlobKey key(range->file.blob, range->file.size);
  const auto wrong = wrong_.find(key);
  if (wrong != wrong_.end() && wrong->second == stamp)
    return end(range, fail(Code::corrupt,
                           "{}/{} has not the content {}: its bytes have another hash; repair or "
                           "remove it",
                           options_.path, place, range->file.blob.hex()));
  if (!candidate->named) {
    const auto known = hashes_.find(place);
    if (known == hashes_.end() || known->second.stamp != stamp)
      return hash(place, stamp, [self = shared_from_this(), range](Result<BlobId> named) {
        if (!named) return self->end(range, fail(named));
        if (self->calls_.contains(range->id)) self->find(range);
      });
    if (known->second.blob != range->file.blob)
      return end(range, fail(Code::not_found, "{}/{} is {}, not {}", options_.path, place,
                             known->second.blob.hex(), range->file.blob.hex()));
  }
  given_.insert_or_assign(key, stamp);
  range->fd = fd;
  read_piece(range);
}

void FolderOrigin::read_piece(const std::shared_ptr<RangeRead>& range) {
  const std::size_t size = std::min(kBlockSize, range->range.end() - range->at);
  // The end of a block, so that whole ones arrive.
  const std::size_t part = std::min<std::size_t>(size, kBlockSize - range->at % kBlockSize);
  readers_.run(range->place, [self = shared_from_this(), range, fd = range->fd, at = range->at,
                              part](const Io&) {
    std::vector<std::byte> piece(part);
    auto count = system_disk().pread_some(*fd, piece, at);
    if (count && *count != part)
      count = fail(Code::corrupt, "it ends at byte {} of {}: it was cut while it was read",
                   at + *count, range->file.size);
    self->post([self, range, piece = std::move(piece), count = std::move(count)]() mutable {
      if (!self->calls_.contains(range->id)) return;
      if (!count) {
        if (info(count.error().code).retry_helps) self->probe();
        return self->end(range, fail(std::move(count.error())
                                         .during(fmt::format("{}/{}", self->options_.path,
                                                             range->place))));
      }
      range->piece = std::move(piece);
      self->deliver(range);
    });
  });
}

void FolderOrigin::deliver(const std::shared_ptr<RangeRead>& range) {
  if (!calls_.contains(range->id) || range->piece.empty()) return;
  if (!std::exchange(range->started, true)) range->sink->on_start(range->range);
  switch (range->sink->on_data(range->at, range->piece)) {
    case Flow::pause: range->paused = true; return;
    case Flow::stop: return end(range, fail(Code::cancelled, "no more is wanted"));
    case Flow::more: break;
  }
  metrics_.add(Metric::folder_bytes, static_cast<std::int64_t>(range->piece.size()));
  range->at += range->piece.size();
  range->piece.clear();
  if (range->at == range->range.end()) return end(range, {});
  read_piece(range);
}

void FolderOrigin::end(const std::shared_ptr<RangeRead>& range, Result<void> result) {
  if (leave(range->id)) let_go(*range)->on_done(std::move(result));
}

}  // namespace hffs::folder
