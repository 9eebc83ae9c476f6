// SPDX-License-Identifier: Apache-2.0
#include "file_plan.h"

#include <algorithm>
#include <cstdint>

namespace hffs::prefetch {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
// Read in order before anything is fetched ahead: more than a read of 1 MiB and the kernel's own
// read-ahead come to.
constexpr std::uint64_t kProof = 3 * kMiB;
// Read in order from a file whose parts could not be seen: it is not going by them.
constexpr std::uint64_t kPartless = 64 * kMiB;
constexpr std::uint64_t kSmallFile = 4 * kMiB;
constexpr std::uint64_t kLongestWindow = 128 * kMiB;
// What a stream has before it while the whole file is filled.
constexpr std::uint64_t kFillWindow = 32 * kMiB, kLeastWindow = 2 * kMiB;
// A window comes by so many connections at once: a new one is slow at first.
constexpr BlockIndex kPieces = 8;
constexpr std::uint64_t kLargePart = 2 * kMiB;
constexpr int kPartsToFill = 2;
constexpr std::uint64_t kStreamToFill = 32 * kMiB;

}  // namespace

FilePlan::FilePlan(Format format, std::uint64_t size)
    : format_(format), size_(size), read_(block_count(size)), asked_(block_count(size)) {}

// The part that holds the byte.
const ByteRange* FilePlan::part_at(std::uint64_t offset) const {
  if (!extents_) return nullptr;
  const auto& parts = extents_->parts;
  auto behind = std::upper_bound(parts.begin(), parts.end(), offset,
                                 [](std::uint64_t at, const ByteRange& part) { return at < part.offset; });
  if (behind == parts.begin()) return nullptr;
  const ByteRange& part = *std::prev(behind);
  return offset < part.end() ? &part : nullptr;
}

void FilePlan::note_read(ByteRange range) {
  range = clip(range, size_);
  if (range.empty()) return;
  const Stream& stream = streams_.note(range);
  const BlockRun run = blocks_of(range);
  for (BlockIndex block = run.first; block != run.end(); ++block) {
    blocks_read_ += read_[block] ? 0 : 1;
    read_[block] = true;
  }
  if (filling_) return;
  const bool parts_known = extents_ && !extents_->parts.empty();
  if (parts_known) {
    note_finished_parts(range, stream);
    filling_ = parts_read_ >= kPartsToFill || blocks_read_ > read_.size() * 3 / 4;
  } else {
    filling_ = stream.bytes >= (wants_extents() ? kPartless : kStreamToFill) ||
               (size_ > kSmallFile && blocks_read_ > read_.size() / 2);
  }
  if (size_ <= kSmallFile) filling_ = true;
}

// All of its blocks were read, most of them in order: from a mapped file a copy of a tensor may read
// its last bytes first (glibc's memmove does), and the kernel's read-ahead runs into the next.
void FilePlan::note_finished_parts(ByteRange range, const Stream& stream) {
  for (const std::uint64_t at : {range.offset, range.end() - 1}) {
    const ByteRange* part = part_at(at);
    if (part == nullptr || part->size < kLargePart || part->offset == last_part_) continue;
    const BlockRun run = blocks_of(*part);
    if (2 * stream.bytes < part->size ||
        !std::all_of(read_.begin() + run.first, read_.begin() + run.end(), [](bool read) { return read; }))
      continue;
    last_part_ = part->offset;
    ++parts_read_;
  }
}

// What a stream will want next; empty: nothing can be said.
ByteRange FilePlan::window(const Stream& stream) const {
  const std::uint64_t left = size_ - std::min(size_, stream.end);
  if (left == 0) return {};
  if (stream.bytes < kProof) {
    // Reads of a size that seldom fits a block: the second one would cost another round trip.
    const std::uint64_t second = (stream.begin / kBlockSize + 1) * kBlockSize;
    const bool latest = &stream == &streams_.recent().front();
    if (!latest || !streams_.go_on_to_a_second_block() || second >= size_) return {};
    return {second, 1};
  }
  if (filling_) return {stream.end, std::min(left, kFillWindow / shares_)};
  if (wants_extents() && stream.bytes < kPartless) return {};
  if (extents_ && !extents_->parts.empty()) {
    const ByteRange* part = part_at(stream.end - 1);
    if (part == nullptr || part->end() <= stream.end) return {};
    // The kernel's read-ahead runs over a part's end by itself.
    if (stream.end - part->offset < kProof) return {};
    return {stream.end, std::min(part->end() - stream.end, kLongestWindow)};
  }
  return {stream.end, std::min({left, 2 * stream.bytes, kLongestWindow})};
}

std::optional<BlockRun> FilePlan::take(ByteRange range, const Here& here, BlockIndex most) {
  const BlockRun run = blocks_of(range);
  const auto open = [&](BlockIndex block) { return !asked_[block] && !here(block); };
  BlockIndex first = run.first;
  while (first != run.end() && !open(first)) ++first;
  BlockRun taken{first, 0};
  while (taken.end() != run.end() && taken.count < most && open(taken.end())) ++taken.count;
  if (taken.count == 0) return std::nullopt;
  std::fill_n(asked_.begin() + taken.first, taken.count, true);
  return taken;
}

// Where the table of the parts stands, or begins.
ByteRange FilePlan::table() const {
  const std::uint64_t size = std::min(size_, kBlockSize);
  return {format_ == Format::torch_zip ? size_ - size : 0, size};
}

std::optional<BlockRun> FilePlan::next(const Here& here, BlockIndex most) {
  // Somebody knows the parts without having looked.
  if (wants_extents() && !streams_.recent().empty() && streams_.recent().front().bytes >= kProof)
    if (auto run = take(table(), here, most)) return run;
  // What each would have alone they have together, or what the last of them reads would not come first.
  shares_ = std::clamp<std::uint64_t>(
      std::ranges::count_if(streams_.recent(), [](const Stream& each) { return each.bytes >= kProof; }),
      1, kFillWindow / kLeastWindow);
  for (const Stream& stream : streams_.recent())
    if (const ByteRange wanted = window(stream); !wanted.empty())
      if (auto run = take(wanted, here, std::clamp(blocks_of(wanted).count / kPieces, BlockIndex{1}, most)))
        return run;
  if (!filling_) return std::nullopt;
  // Behind the latest reader first, then what it left out.
  if (!streams_.recent().empty()) {
    const std::uint64_t end = streams_.recent().front().end;
    if (end < size_)
      if (auto run = take({end, size_ - end}, here, most)) return run;
  }
  while (filled_ < asked_.size() && (asked_[filled_] || here(filled_))) ++filled_;
  if (filled_ >= asked_.size()) return std::nullopt;
  const std::uint64_t from = filled_ * kBlockSize;
  return take({from, size_ - from}, here, most);
}

void FilePlan::forget(BlockRun run) {
  std::fill_n(asked_.begin() + run.first, run.count, false);
  filled_ = std::min(filled_, run.first);
}

}  // namespace hffs::prefetch
