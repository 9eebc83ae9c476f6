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
  void begin_block(std::uint64_t offset);

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Request> request_;
  bool whole_ = false;             // the origin ignores ranges: everything comes, from 0
  std::optional<Error> rejected_;  // nothing of this answer can be used
  bool progress_ = false;
  std::uint64_t reached_ = 0;  // the end of what has arrived
  // The block being assembled.
  BlockIndex block_ = 0;
  bool assembling_ = false;
  bool skipping_ = false;  // its bytes are of no use
};

}  // namespace hffs::transfer
