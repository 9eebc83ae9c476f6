// SPDX-License-Identifier: Apache-2.0
#include "bitmap.h"

#include <algorithm>
#include <bit>

namespace hffs {
namespace {

constexpr std::uint64_t kWordBits = 64;

std::size_t words_for(std::uint64_t blocks) {
  return static_cast<std::size_t>((blocks + kWordBits - 1) / kWordBits);
}

// The bits of word `index` that belong to `run`.
std::uint64_t mask_in_word(BlockRun run, std::size_t index) {
  const std::uint64_t word_begin = index * kWordBits;
  const std::uint64_t begin = std::max<std::uint64_t>(run.first, word_begin) - word_begin;
  const std::uint64_t end =
      std::min<std::uint64_t>(std::uint64_t{run.first} + run.count, word_begin + kWordBits) -
      word_begin;
  const std::uint64_t ones =
      end - begin == kWordBits ? ~std::uint64_t{0} : (std::uint64_t{1} << (end - begin)) - 1;
  return ones << begin;
}

}  // namespace

std::string Bitmap::encode() const {
  std::string bytes;
  bytes.reserve(words_.size() * 8);
  for (const std::uint64_t word : words_)
    for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(word >> shift));
  while (!bytes.empty() && bytes.back() == 0) bytes.pop_back();
  return bytes;
}

std::optional<Bitmap> Bitmap::decode(std::string_view bytes, std::uint64_t blocks) {
  Bitmap bitmap;
  bitmap.words_.resize((bytes.size() + 7) / 8);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bitmap.words_[i / 8] |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (i % 8 * 8);
  if (bitmap.end() > blocks) return std::nullopt;
  return bitmap;
}

bool Bitmap::test(BlockIndex block) const {
  const std::size_t index = block / kWordBits;
  return index < words_.size() && (words_[index] >> (block % kWordBits) & 1) != 0;
}

void Bitmap::set(BlockIndex block) {
  const std::size_t index = block / kWordBits;
  if (index >= words_.size()) words_.resize(index + 1);
  words_[index] |= std::uint64_t{1} << (block % kWordBits);
}

void Bitmap::set_word(std::size_t index, std::uint64_t bits) {
  if (index >= words_.size()) words_.resize(index + 1);
  words_[index] = bits;
}

void Bitmap::merge(const Bitmap& other) {
  if (other.words_.size() > words_.size()) words_.resize(other.words_.size());
  for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
}

bool Bitmap::empty() const {
  return end() == 0;
}

std::uint64_t Bitmap::count() const {
  std::uint64_t blocks = 0;
  for (const std::uint64_t word : words_) blocks += static_cast<std::uint64_t>(std::popcount(word));
  return blocks;
}

std::uint64_t Bitmap::end() const {
  for (std::size_t i = words_.size(); i-- > 0;)
    if (words_[i] != 0)
      return i * kWordBits + kWordBits - static_cast<std::uint64_t>(std::countl_zero(words_[i]));
  return 0;
}

std::uint64_t Bitmap::bytes(std::uint64_t blob_size) const {
  std::uint64_t bytes = count() * kBlockSize;
  if (end() * kBlockSize > blob_size) bytes -= end() * kBlockSize - blob_size;
  return bytes;
}

Bitmap every_block(std::uint64_t blob_size) {
  Bitmap all;
  for (BlockIndex block = 0; block < block_count(blob_size); ++block) all.set(block);
  return all;
}

BlockMap::BlockMap(BlockIndex blocks)
    : blocks_(blocks), words_(new std::atomic<std::uint64_t>[words_for(blocks)]()) {}

bool BlockMap::test(BlockIndex block) const {
  return (words_[block / kWordBits].load(std::memory_order_acquire) >> (block % kWordBits) & 1) !=
         0;
}

bool BlockMap::all(BlockRun run) const {
  if (run.count == 0) return true;
  for (std::size_t i = run.first / kWordBits; i <= (run.end() - 1) / kWordBits; ++i) {
    const std::uint64_t mask = mask_in_word(run, i);
    if ((words_[i].load(std::memory_order_acquire) & mask) != mask) return false;
  }
  return true;
}

void BlockMap::set(BlockRun run) {
  if (run.count == 0) return;
  for (std::size_t i = run.first / kWordBits; i <= (run.end() - 1) / kWordBits; ++i)
    words_[i].fetch_or(mask_in_word(run, i), std::memory_order_release);
}

void BlockMap::assign(const Bitmap& blocks) {
  const auto& words = blocks.words();
  for (std::size_t i = 0; i < words_for(blocks_); ++i)
    words_[i].store(i < words.size() ? words[i] : 0, std::memory_order_release);
}

Bitmap BlockMap::snapshot() const {
  Bitmap blocks;
  for (std::size_t i = 0; i < words_for(blocks_); ++i)
    if (const std::uint64_t word = words_[i].load(std::memory_order_acquire); word != 0)
      blocks.set_word(i, word);
  return blocks;
}

}  // namespace hffs
