// SPDX-License-Identifier: Apache-2.0
#include "signed_urls.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "headers.h"

namespace hffs::hub {
namespace {

constexpr std::chrono::seconds kMostUse{50 * 60};
constexpr std::chrono::seconds kMargin{60};
constexpr std::size_t kMostKnown = 4'096;

// "20260102T030405Z", of X-Amz-Date.
std::optional<WallTime> parse_amz_date(std::string_view text) {
  std::tm time{};
  const std::string copy(text.substr(0, 32));
  if (std::sscanf(copy.c_str(), "%4d%2d%2dT%2d%2d%2dZ", &time.tm_year, &time.tm_mon, &time.tm_mday,
                  &time.tm_hour, &time.tm_min, &time.tm_sec) != 6)
    return std::nullopt;
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  return WallTime{std::chrono::seconds{::timegm(&time)}};
}

std::chrono::seconds seconds_of(std::uint64_t value) {
  return std::chrono::seconds(std::min<std::uint64_t>(value, std::uint64_t{1} << 40));
}

}  // namespace

std::chrono::seconds usable_for(const Url& url, WallTime now) {
  std::optional<WallTime> expires;
  if (const auto at = parse_number(query_value(url.query, "Expires"))) {
    expires = WallTime{seconds_of(*at)};
  } else if (const auto span = parse_number(query_value(url.query, "X-Amz-Expires"))) {
    expires =
        parse_amz_date(query_value(url.query, "X-Amz-Date")).value_or(now) + seconds_of(*span);
  }
  if (!expires) return kMostUse;
  return std::clamp(*expires - now - kMargin, std::chrono::seconds{0}, kMostUse);
}

const SignedUrls::Known* SignedUrls::current(const std::string& file) {
  const auto found = known_.find(file);
  if (found == known_.end()) return nullptr;
  if (found->second.until > clock_.now()) return &found->second;
  known_.erase(found);
  return nullptr;
}

std::optional<SignedUrls::Address> SignedUrls::find(const std::string& file) {
  const Known* known = current(file);
  return known == nullptr ? std::nullopt : known->address;
}

bool SignedUrls::is_direct(const std::string& file) {
  const Known* known = current(file);
  return known != nullptr && !known->address;
}

bool SignedUrls::join(const std::string& file, Waiter waiter) {
  const auto [asking, first] = asking_.try_emplace(file);
  if (!first) asking->second.push_back(std::move(waiter));
  return first;
}

std::vector<SignedUrls::Waiter> SignedUrls::land(const std::string& file) {
  auto node = asking_.extract(file);
  return node.empty() ? std::vector<Waiter>{} : std::move(node.mapped());
}

void SignedUrls::remember(const std::string& file, const Address& address) {
  const auto use = usable_for(address.url, clock_.wall());
  if (use.count() > 0) keep(file, {address, clock_.now() + use});
}

void SignedUrls::remember_direct(const std::string& file) {
  keep(file, {std::nullopt, clock_.now() + kMostUse});
}

void SignedUrls::forget(const std::string& file, const Url& url) {
  const auto found = known_.find(file);
  if (found == known_.end() || !found->second.address) return;
  if (found->second.address->url.text() == url.text())
    known_.erase(found);
}

void SignedUrls::keep(const std::string& file, Known known) {
  if (known_.size() >= kMostKnown)
    std::erase_if(known_, [&](const auto& each) { return each.second.until <= clock_.now(); });
  if (known_.size() >= kMostKnown) known_.erase(known_.begin());
  known_.insert_or_assign(file, std::move(known));
}

}  // namespace hffs::hub
