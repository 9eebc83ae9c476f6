// SPDX-License-Identifier: Apache-2.0
//
// The memory file as it is laid out. Requests are as in Linux include/uapi/linux/fuse.h (struct fuse_in_header): a desk is
// taken if the first word, the length, is not 0. Of all else the lengths stand together, apart: a page that is looked
// at is memory. Threads: Handover's lock.
#pragma once

#include <linux/fuse.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hffs/handover.h"

namespace hffs {

inline constexpr std::size_t kPage = 4'096;
// The largest WRITE, and its headers.
inline constexpr std::size_t kDeskBytes = (std::size_t{1} << 20) + 4 * kPage;
// Whatever can wait is shorter: names have less than 4,096 bytes, a rename has two.
inline constexpr std::size_t kPlaceBytes = 3 * kPage;
inline constexpr std::uint32_t kPlaces = 16'384;
inline constexpr std::uint32_t kRows = 65'536;
inline constexpr std::uint32_t kChanges = 8'192;
inline constexpr std::size_t kMostInit = kPage;

using HandoverWord = std::atomic_ref<std::uint32_t>;

struct Handover::Memory {
  // In front of each request: what is not the kernel's.
  struct Note {
    std::uint32_t size;  // of a place's; 0: free
    std::uint32_t tries;
    // The node that it opens or closes: its row, + 1, its count before, and whether that has changed by now.
    std::uint32_t row, before, counted;
    std::uint32_t answers;  // 1: an answer stands beside it
  };
  // Longer ones are those of reads, which are done again.
  static constexpr std::size_t kMostAnswer = 252;
  struct Answer {
    std::uint32_t size;  // 0: none
    std::byte bytes[kMostAnswer];
  };
  struct Change {
    std::uint32_t size;  // 0: free
    std::uint32_t settled;
    std::uint64_t number, request;
  };

  std::uint64_t magic;
  std::uint64_t generation;
  Handover::Index index;
  std::uint32_t init_bytes, answer_bytes;
  alignas(kPage) std::byte init[kMostInit];
  std::byte answer[kMostInit];
  alignas(kPage) OpenNode rows[kRows];
  alignas(kPage) Note notes[kDesks + kPlaces];
  alignas(kPage) Answer answers[kDesks + kPlaces];
  alignas(kPage) Change changes[kChanges];
  alignas(kPage) char change_bytes[kChanges][kMostChange];
  alignas(kPage) std::byte desks[kDesks][kDeskBytes];
  alignas(kPage) std::byte places[kPlaces][kPlaceBytes];
};

inline fuse_in_header header_of(const std::byte* request) {
  fuse_in_header header;
  std::memcpy(&header, request, sizeof(header));
  return header;
}

}  // namespace hffs
