// SPDX-License-Identifier: Apache-2.0
#include "subordinate.h"

#include <pwd.h>

#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>

namespace hffs::access {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

std::optional<uid_t> user_of(const std::string& name) {
  if (const auto uid = number(name)) return static_cast<uid_t>(*uid);
  passwd entry{};
  passwd* found = nullptr;
  std::string buffer(16'384, '\0');
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {};
  return found->pw_uid;
}

}  // namespace

SubordinateUsers SubordinateUsers::load(const std::string& path) {
  SubordinateUsers users;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string_view words = line;
    const auto begin = number(words.substr(first + 1, second - first - 1));
    const auto count = number(words.substr(second + 1));
    if (!begin || !count) continue;
    // Nobody's range makes him root, nor root's range anybody root.
    const auto owner = user_of(line.substr(0, first));
    if (owner && *owner != 0) users.ranges_.push_back({*begin, *count, *owner});
  }
  return users;
}

uid_t SubordinateUsers::owner_of(uid_t user) const {
  if (user == 0) return user;
  for (const Range& range : ranges_)
    if (user >= range.first && user - range.first < range.count) return range.owner;
  return user;
}

}  // namespace hffs::access
