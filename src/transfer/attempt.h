// SPDX-License-Identifier: Apache-2.0
//
// Attempt: one range GET. Cuts what arrives into whole blocks and hands each over at once. Called
// on the network thread only.
#pragma once

#include <memory>

#include "engine.h"

namespace hffs::transfer {

class Attempt final : public RangeSink {
 public:
  Attempt(std::shared_ptr<Engine> engine, std::shared_ptr<Request> request)
      : engine_(std::move(engine)), request_(std::move(request)) {}

  void on_start(ByteRange delivered) override;
  Flow on_data(std::uint64_t offset, std::span<const std::byte> bytes) override;
  void on_done(Result<void> result) override;

 private:
  void take(std::uint64_t offset, std::span<const std::byte> bytes);
  void begin_block(BlockIndex block);

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Request> request_;
  bool whole_ = false;    // the origin ignores ranges: everything comes, from 0
  bool refused_ = false;  // somebody else streams the whole file already
  bool progress_ = false;
  // The block being assembled.
  BlockIndex block_ = 0;
  bool assembling_ = false;
  bool skipping_ = false;  // its bytes are here already
};

}  // namespace hffs::transfer
