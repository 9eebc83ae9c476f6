// SPDX-License-Identifier: Apache-2.0
//
// A keeper's memory, and the workers that come and go.
#pragma once

#include <linux/fuse.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <span>

#include "hffs/handover.h"

namespace hffs {

class HandoverMemory {
 public:
  // The next worker's; the one before must have gone.
  std::unique_ptr<Handover> next() const {
    auto made = Handover::map(memory_);
    (*made)->take_over();
    return std::move(*made);
  }
  // Writes past every Handover, as a hostile worker can.
  void poke(off_t at, std::span<const std::byte> bytes) const {
    (void)!::pwrite(memory_.get(), bytes.data(), bytes.size(), at);
  }

 private:
  const UniqueFd memory_ = std::move(*Handover::create());
};

// As if the kernel had handed over a request.
inline void receive(Handover& handover, unsigned desk, std::uint64_t unique, std::uint32_t opcode,
                    std::size_t size = 80) {
  const auto place = handover.desk(desk);
  std::memset(place.data(), static_cast<int>(unique), size);
  const fuse_in_header header{
      .len = static_cast<std::uint32_t>(size), .opcode = opcode, .unique = unique};
  std::memcpy(place.data(), &header, sizeof(header));
  handover.begin(desk);
}

}  // namespace hffs
