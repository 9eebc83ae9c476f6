// SPDX-License-Identifier: Apache-2.0
//
// Who is asked next, and when: the decisions of a metadata call, and of what makes an endpoint
// down. Pure: tables in tests/unit/hub_retry_test.cpp.
//
// A call goes in rounds: each round asks the usable endpoints in order until one gives an answer
// that settles the question; between rounds it waits a little.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "hffs/clock.h"

namespace hffs::hub {

using Milliseconds = std::chrono::milliseconds;

inline constexpr int kMostRounds = 3;

// The pause after `rounds` rounds without an answer; nothing: give up.
std::optional<Milliseconds> pause_after(int rounds);

// How an endpoint stands for one call.
struct Standing {
  bool up = true;
  bool asked = false;    // in this round
  Instant wait_until{};  // it asked us to wait
};

struct Choice {
  enum class Kind : std::uint8_t {
    ask,         // `endpoint`, now
    wait,        // until `at`, then choose again
    round_over,  // all were asked
    all_down,    // and this is the call's first look
    too_late,    // every endpoint wants us to wait beyond the deadline
  };
  Kind kind = Kind::round_over;
  std::size_t endpoint = 0;
  Instant at{};
};

// `fresh`: nobody was asked yet. A call that began while an endpoint was up does not give up the
// others' chances when it goes down meanwhile.
Choice choose_endpoint(std::span<const Standing> endpoints, bool fresh, Instant now,
                       Instant deadline);

// How long an attempt may take to its first header, so that others still have their turn.
// `others`: usable endpoints not asked yet. `again`: whether another round may follow.
Milliseconds first_byte_limit(Milliseconds left, std::size_t others, bool again);

// Whether one endpoint answers HTTP at all. It is down after three failures in a row that began one
// after the other (many connections that break at once are one failure), or after one silence; up
// again on any HTTP answer.
class Health {
 public:
  bool up() const { return failures_ < kFailuresToDown; }
  const std::string& last_error() const { return last_error_; }
  Instant last_failure() const { return last_failure_; }
  // Both tell whether up() changed.
  bool note_answer(Instant now);
  bool note_failure(Instant began, Instant now, bool silent, std::string why);

 private:
  static constexpr int kFailuresToDown = 3;
  int failures_ = 0;
  Instant last_answer_{}, last_failure_{};
  std::string last_error_;
};

}  // namespace hffs::hub
