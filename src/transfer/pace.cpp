// SPDX-License-Identifier: Apache-2.0
#include "pace.h"

#include <algorithm>
#include <utility>

namespace hffs::transfer {
namespace {

// What runs out is not counted for the new limit.
constexpr std::chrono::milliseconds kSettle{100};
constexpr std::chrono::milliseconds kWindow{750}, kFirstWindow{250};
constexpr std::chrono::seconds kTryMore{15}, kTryLeast{5};
constexpr double kBetter = 1.1;
constexpr double kPoor = 0.6;
constexpr int kPoorWindows = 2;

}  // namespace

void Pace::set(int limit, Phase phase, Instant now) {
  if (phase != Phase::growing) young_ = false;
  limit_ = std::clamp(limit, least_, most_);
  phase_ = phase;
  changed_ = now;
  began_ = {};
  poor_windows_ = 0;
}

void Pace::note_refusal(Instant now) {
  base_ = 0;  // of another time
  set(limit_ / 2, Phase::holding, now);
}

void Pace::tick(Instant now, bool saturated) {
  if (!saturated || now - changed_ < kSettle) {
    began_ = {};
    return;
  }
  if (began_ == Instant{}) {
    began_ = now;
    bytes_ = 0;
    return;
  }
  // A load is short: at first a doubling shows soon.
  if (now - began_ < (young_ ? kFirstWindow : kWindow)) return;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  const double rate = static_cast<double>(bytes_) / seconds;
  began_ = now;
  bytes_ = 0;
  judge(rate, now);
}

void Pace::judge(double rate, Instant now) {
  switch (phase_) {
    case Phase::growing:
      if (rate < base_ * kBetter) return set(lower_, Phase::holding, now);
      base_ = rate;
      if (limit_ >= most_) return set(limit_, Phase::holding, now);
      lower_ = limit_;
      return set(limit_ * 2, Phase::growing, now);
    case Phase::holding:
      if (rate < base_ * kPoor && limit_ > least_) {
        if (++poor_windows_ < kPoorWindows) return;
        lower_ = limit_;
        base_ = rate;
        return set(limit_ / 2, Phase::shrinking, now);
      }
      poor_windows_ = 0;
      base_ = std::max(rate, base_ * 0.9 + rate * 0.1);
      if (now - changed_ < (tried_least_ ? kTryMore : kTryLeast)) return;
      lower_ = limit_;
      base_ = rate;
      // What it began with may have been too many already.
      if (!std::exchange(tried_least_, true)) return set(least_, Phase::shrinking, now);
      if (limit_ >= most_) return set(limit_, Phase::holding, now);
      return set(limit_ + std::max(1, limit_ / 4), Phase::growing, now);
    case Phase::shrinking:
      // It was not for the number: the origin has become slower.
      if (rate < base_ * kBetter) return set(lower_, Phase::holding, now);
      base_ = rate;
      lower_ = limit_;
      if (limit_ <= least_) return set(limit_, Phase::holding, now);
      return set(limit_ / 2, Phase::shrinking, now);
  }
}

}  // namespace hffs::transfer
