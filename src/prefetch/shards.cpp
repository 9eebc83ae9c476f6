// SPDX-License-Identifier: Apache-2.0
#include "shards.h"

#include <charconv>

namespace hffs::prefetch {
namespace {

constexpr std::size_t kDigits = 5;
constexpr std::string_view kOf = "-of-";

std::optional<unsigned> number_of(std::string_view text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<Shard> Shard::parse(std::string_view path) {
  const std::size_t of = path.rfind(kOf);
  if (of == path.npos || of < kDigits + 1 || path[of - kDigits - 1] != '-') return std::nullopt;
  const auto number = number_of(path.substr(of - kDigits, kDigits));
  if (!number) return std::nullopt;
  Shard shard;
  shard.before_ = path.substr(0, of - kDigits);
  shard.behind_ = path.substr(of);
  shard.number_ = *number;
  return shard;
}

bool Shard::is_followed_by(std::string_view path) const {
  const auto other = parse(path);
  return other && other->before_ == before_ && other->behind_ == behind_ &&
         other->number_ == number_ + 1;
}

}  // namespace hffs::prefetch
