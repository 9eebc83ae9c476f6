// SPDX-License-Identifier: Apache-2.0
//
// Pace: how many requests at once serve an origin best. It grows while that brings more bytes, goes back
// when it does not, and tries fewer when the bytes become fewer, and once in any case: some origins give
// a tenth to who asks too often, without a word. It never stays collapsed: now and then it tries more again.
//
// Only windows count in which as many requests ran as it allowed. Threads: one at a time.
#pragma once

#include <cstdint>

#include "hffs/clock.h"

namespace hffs::transfer {

class Pace {
 public:
  // It begins with `first`.
  Pace(int least, int first, int most)
      : least_(least), most_(most), limit_(first), lower_(least) {}

  int limit() const { return limit_; }
  // Bytes that came.
  void note(std::uint64_t bytes) { bytes_ += bytes; }
  // The origin said that it is too much.
  void note_refusal(Instant now);
  // A few times each second. `saturated`: `limit` requests are under way, and more wait.
  void tick(Instant now, bool saturated);

 private:
  enum class Phase { growing, holding, shrinking };

  void judge(double rate, Instant now);
  void set(int limit, Phase phase, Instant now);

  int least_, most_;
  Phase phase_ = Phase::growing;
  bool young_ = true;       // it has not stopped growing yet
  bool tried_least_ = false;
  int limit_;
  int lower_;               // growing: what it was before
  double base_ = 0;         // bytes a second that are to be beaten
  int poor_windows_ = 0;    // in a row
  Instant changed_{};       // the limit
  Instant began_{};         // the window; zero: none
  std::uint64_t bytes_ = 0;  // in it
};

}  // namespace hffs::transfer
