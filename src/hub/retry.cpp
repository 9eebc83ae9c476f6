// SPDX-License-Identifier: Apache-2.0
#include "retry.h"

#include <algorithm>

namespace hffs::hub {

std::optional<Milliseconds> pause_after(int rounds) {
  if (rounds >= kMostRounds) return std::nullopt;
  return rounds <= 1 ? Milliseconds{200} : Milliseconds{800};
}

Choice choose_endpoint(std::span<const Standing> endpoints, bool fresh, Instant now,
                       Instant deadline) {
  const bool any_up =
      std::any_of(endpoints.begin(), endpoints.end(), [](const Standing& each) { return each.up; });
  if (!any_up && fresh) return {.kind = Choice::Kind::all_down};
  std::optional<Choice> waiting;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const Standing& each = endpoints[i];
    if (each.asked || (any_up && !each.up)) continue;
    if (each.wait_until <= now) return {.kind = Choice::Kind::ask, .endpoint = i};
    if (!waiting || each.wait_until < waiting->at)
      waiting = Choice{.kind = Choice::Kind::wait, .endpoint = i, .at = each.wait_until};
  }
  if (!waiting) return {.kind = Choice::Kind::round_over};
  if (waiting->at >= deadline) waiting->kind = Choice::Kind::too_late;
  return *waiting;
}

Milliseconds first_byte_limit(Milliseconds left, std::size_t others, bool again) {
  if (others > 0) return left / static_cast<int>(others + 1);
  // A connection that died silently must leave time for a fresh one.
  return again ? left * 5 / 8 : left;
}

bool Health::note_answer(Instant now) {
  const bool was_up = up();
  failures_ = 0;
  last_answer_ = now;
  last_error_.clear();
  return !was_up;
}

bool Health::note_failure(Instant began, Instant now, bool silent, std::string why) {
  const bool was_up = up();
  if (began <= last_answer_) return false;  // it has answered others meanwhile
  if (silent)
    failures_ = kFailuresToDown;
  else if (failures_ == 0 || began > last_failure_)
    ++failures_;
  last_failure_ = now;
  last_error_ = std::move(why);
  return was_up && !up();
}

}  // namespace hffs::hub
