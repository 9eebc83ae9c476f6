// SPDX-License-Identifier: Apache-2.0
#include "space.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "hffs/bytes.h"

namespace hffs {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
// What goes beyond need, so that a full store is not searched for each block: of a limit one 4,096th in
// whole blocks (none of a small one), at most as much as one batch of the sync thread.
constexpr std::uint64_t kMarginShare = 4'096;
constexpr std::uint64_t kMostMargin = std::uint64_t{256} << 20;
// Journals and background inactivation give space back within this.
constexpr std::chrono::seconds kPromise{3};

std::uint64_t margin_of(std::uint64_t limit) {
  return std::min(limit / kMarginShare / kBlockSize * kBlockSize, kMostMargin);
}

std::uint64_t find_min_free(const Limits& limits, const std::string& directory,
                            std::uint64_t held) {
  if (limits.min_free) return *limits.min_free;
  const FileSystemSpace space = space_of(directory);
  return default_min_free(space.bytes, space.free + held);
}

}  // namespace

std::uint64_t default_min_free(std::uint64_t file_system_bytes, std::uint64_t available) {
  return std::min(std::max(file_system_bytes / 10, 20 * kGiB), available / 2);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const std::string_view all = text;
  const auto bad = [&] {
    return fail(Code::invalid, "'{}' is not a size; write 500G, 1.5T or a number of bytes", all);
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number,
                                            std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return bad();
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  while (text.starts_with(' ')) text.remove_prefix(1);
  std::string unit(text);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  constexpr std::string_view kUnits = "KMGTP";
  std::size_t power = 0;
  if (!unit.empty() && unit != "B") {
    power = kUnits.find(unit.front()) + 1;  // npos + 1 is 0
    const std::string_view rest = std::string_view(unit).substr(1);
    if (power == 0 || (!rest.empty() && rest != "IB" && rest != "B")) return bad();
  }
  const double base = unit.size() == 2 && unit.back() == 'B' ? 1'000 : 1'024;
  number *= std::pow(base, static_cast<double>(power));
  if (number > 9.0e18) return bad();
  return static_cast<std::uint64_t>(number);
}

FileSystemSpace space_of(const std::string& directory) {
  struct statvfs found {};
  if (::statvfs(directory.c_str(), &found) != 0) return {};
  return {std::uint64_t{found.f_blocks} * found.f_frsize,
          std::uint64_t{found.f_bavail} * found.f_frsize};
}

Space::Space(const Limits& limits, std::string directory, std::shared_ptr<UsageCounters> usage)
    : directory_(std::move(directory)),
      usage_(std::move(usage)),
      max_size_(limits.max_size),
      min_free_(find_min_free(limits, directory_, used())) {}

std::uint64_t Space::used() const {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, usage_->held_bytes.load()));
}

std::uint64_t Space::free_now() const {
  const std::uint64_t free = space_of(directory_).free;
  auto promise = promise_.lock();
  return std::chrono::steady_clock::now() < promise->until ? std::max(free, promise->free) : free;
}

bool Space::take(Need need) {
  if (min_free_ != 0 && need.fresh != 0 && free_now() < min_free_ + need.fresh) return false;
  const auto more = static_cast<std::int64_t>(need.bytes);
  std::int64_t held = usage_->held_bytes.load();
  do {
    const std::int64_t then = std::max<std::int64_t>(0, held) + more;
    if (max_size_ != 0 && static_cast<std::uint64_t>(then) > max_size_) return false;
  } while (!usage_->held_bytes.compare_exchange_weak(held, held + more));
  auto promise = promise_.lock();
  promise->free -= std::min(promise->free, need.fresh);
  return true;
}

void Space::give_back(std::uint64_t bytes) {
  usage_->held_bytes.fetch_sub(static_cast<std::int64_t>(bytes));
}

std::uint64_t Space::over_limits(Need need, bool margin) const {
  std::uint64_t over = 0;
  const auto note = [&](std::uint64_t wanted, std::uint64_t there, std::uint64_t limit) {
    if (wanted > there) over = std::max(over, wanted - there + (margin ? margin_of(limit) : 0));
  };
  if (max_size_ != 0) note(used() + need.bytes, max_size_, max_size_);
  if (min_free_ != 0) note(min_free_ + need.fresh, free_now(), min_free_);
  return over;
}

void Space::note_removing(std::uint64_t bytes) {
  const std::uint64_t expected = free_now();  // with what earlier removals promise
  auto promise = promise_.lock();
  promise->free = expected + bytes;
  promise->until = std::chrono::steady_clock::now() + kPromise;
}

}  // namespace hffs
