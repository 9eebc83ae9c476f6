// SPDX-License-Identifier: Apache-2.0
#include "hffs/budget.h"

#include "hffs/telemetry.h"

namespace hffs {
namespace {

constexpr std::chrono::hours kLogPause{1};
// Users are forgotten only above this, and only those who have nothing counted.
constexpr std::size_t kMostUsers = 10'000;
constexpr std::size_t kMostNames = 1'000;
// A look at /proc takes as long as a read of what is in memory. A process may have begun another program since.
constexpr std::chrono::milliseconds kLookPause{100};
constexpr std::size_t kMostPassed = 4'096;

std::string_view words_of(std::string_view key) {
  return key.ends_with("_requests") ? "questions to the Hub within an hour" : "bytes of content within 24 hours";
}

}  // namespace

Budget::User& Budget::user_of(Counts& counts, uid_t user, Instant now) {
  if (counts.users.size() >= kMostUsers && !counts.users.contains(user))
    for (auto at = counts.users.begin(); at != counts.users.end();) {
      const bool idle = at->second.bytes.sum(now) == 0 && at->second.requests.sum(now) == 0;
      at = idle ? counts.users.erase(at) : std::next(at);
    }
  return counts.users[user];
}

std::unexpected<Error> Budget::refuse(User& user, uid_t uid, std::string_view key,
                                      std::uint64_t limit, Instant now) const {
  if (!user.logged || now - *user.logged >= kLogPause) {
    user.logged = now;
    log(Level::warn, "access",
        "user {} is over the budget: {} {} are all that {} allows; what is not here yet is refused to them",
        uid, limit, words_of(key), key);
  }
  return fail(Code::over_quota, "user {} is over {} ({} {})", uid, key, limit, words_of(key));
}

Result<void> Budget::may_fetch(const Caller& caller) {
  const Instant now = clock_.now();
  {
    auto counts = counts_.lock();
    const auto passed = counts->passed.find(caller.pid);
    if (passed != counts->passed.end() && now - passed->second < kLookPause) return {};
  }
  const auto name = policy_->held_back(caller.pid);
  auto counts = counts_.lock();
  if (!name) {
    if (counts->passed.size() >= kMostPassed) counts->passed.clear();
    counts->passed[caller.pid] = now;
    return {};
  }
  if (counts->held_back.size() >= kMostNames) counts->held_back.clear();
  const auto [logged, first] = counts->held_back.try_emplace(*name, now);
  if (first || now - logged->second >= kLogPause) {
    logged->second = now;
    log(Level::info, "access", "process {} of user {} is one of no_fetch: it gets what is here", *name,
        caller.uid);
  }
  return fail(Code::denied, "process {} is one of no_fetch", *name);
}

Result<void> Budget::take_bytes(uid_t uid, std::uint64_t bytes) {
  uid = payer(uid);
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  User& user = user_of(*counts, uid, now);
  const auto fits = [&](Day& day, const std::optional<std::uint64_t>& limit) {
    const std::uint64_t used = day.sum(now);
    return !limit || is_free(uid) || (bytes <= *limit && used <= *limit - bytes);
  };
  if (!fits(user.bytes, limits_.user_bytes)) {
    user.refused_bytes = bytes;
    return refuse(user, uid, "user_bytes", *limits_.user_bytes, now);
  }
  if (!fits(counts->total, limits_.total_bytes)) {
    user.refused_total = bytes;
    return refuse(user, uid, "total_bytes", *limits_.total_bytes, now);
  }
  user.bytes.add(now, bytes);
  counts->total.add(now, bytes);
  return {};
}

void Budget::add_bytes(uid_t uid, std::uint64_t bytes) {
  uid = payer(uid);
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  user_of(*counts, uid, now).bytes.add(now, bytes);
  counts->total.add(now, bytes);
}

void Budget::give_bytes_back(uid_t uid, std::uint64_t bytes) {
  uid = payer(uid);
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  user_of(*counts, uid, now).bytes.take_back(now, bytes);
  counts->total.take_back(now, bytes);
}

Result<void> Budget::take_request(uid_t uid) {
  uid = payer(uid);
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  User& user = user_of(*counts, uid, now);
  const auto fits = [&](Hour& hour, const std::optional<std::uint64_t>& limit) {
    return !limit || is_free(uid) || hour.sum(now) < *limit;
  };
  if (!fits(user.requests, limits_.user_requests)) {
    user.refused_requests = 1;
    return refuse(user, uid, "user_requests", *limits_.user_requests, now);
  }
  if (!fits(counts->total_requests, limits_.total_requests)) {
    user.refused_total_requests = 1;
    return refuse(user, uid, "total_requests", *limits_.total_requests, now);
  }
  user.requests.add(now, 1);
  counts->total_requests.add(now, 1);
  return {};
}

void Budget::give_request_back(uid_t uid) {
  uid = payer(uid);
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  user_of(*counts, uid, now).requests.take_back(now, 1);
  counts->total_requests.take_back(now, 1);
}

// Who was refused and would be refused the same again.
std::string_view Budget::over(Counts& counts, User& user, Instant now) const {
  const auto refuses = [](std::uint64_t used, std::uint64_t wanted, const auto& limit) {
    return wanted != 0 && limit && (wanted > *limit || used > *limit - wanted);
  };
  if (refuses(user.bytes.sum(now), user.refused_bytes, limits_.user_bytes)) return "user_bytes";
  if (refuses(counts.total.sum(now), user.refused_total, limits_.total_bytes)) return "total_bytes";
  if (refuses(user.requests.sum(now), user.refused_requests, limits_.user_requests))
    return "user_requests";
  if (refuses(counts.total_requests.sum(now), user.refused_total_requests, limits_.total_requests))
    return "total_requests";
  return {};
}

Budget::State Budget::state() const {
  const Instant now = clock_.now();
  auto counts = counts_.lock();
  State state{.total_bytes = counts->total.sum(now),
              .total_requests = counts->total_requests.sum(now),
              .users = {}};
  for (auto& [uid, user] : counts->users) {
    const Figures figures{.user = uid,
                          .bytes = user.bytes.sum(now),
                          .requests = user.requests.sum(now),
                          .over = over(*counts, user, now)};
    if (figures.bytes != 0 || figures.requests != 0 || !figures.over.empty())
      state.users.push_back(figures);
  }
  return state;
}

void Charge::begun(std::uint64_t bytes) {
  auto held = held_.lock();
  if (std::exchange(settled_, true)) {
    budget_.add_bytes(user_, bytes);
    *held += bytes;
  } else if (*held > bytes) {
    budget_.give_bytes_back(user_, *held - bytes);
    *held = bytes;
  }
}

void Charge::failed(std::uint64_t bytes) {
  auto held = held_.lock();
  bytes = std::min(bytes, *held);
  budget_.give_bytes_back(user_, bytes);
  *held -= bytes;
}

}  // namespace hffs
