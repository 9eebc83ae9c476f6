// SPDX-License-Identifier: Apache-2.0
#include "headers.h"

#include <algorithm>
#include <charconv>

namespace hffs::hub {
namespace {

// The Hub's windows have 300 s. Who asks for more than an hour does not mean it.
constexpr std::chrono::seconds kLongestWait{3'600};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

// Cuts the text in front of `separator` off; quotes protect it.
std::string_view take_until(std::string_view& text, char separator) {
  bool quoted = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (!quoted && text[i] == separator) break;
  }
  const std::string_view head = text.substr(0, i);
  text.remove_prefix(std::min(text.size(), i + 1));
  return trim(head);
}

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  return text;
}

// The number of a parameter such as "r=12" in `parameters`.
std::optional<std::uint64_t> parameter(std::string_view parameters, std::string_view name) {
  while (!parameters.empty()) {
    std::string_view item = take_until(parameters, ';');
    const std::string_view key = take_until(item, '=');
    if (key == name) return parse_number(unquoted(item));
  }
  return std::nullopt;
}

}  // namespace

void Headers::add(std::string_view name, std::string_view value) {
  std::string key(name);
  std::transform(key.begin(), key.end(), key.begin(), lower);
  items_.emplace_back(std::move(key), std::string(trim(value)));
}

void Headers::append(const Headers& more) {
  items_.insert(items_.end(), more.items_.begin(), more.items_.end());
}

std::string_view Headers::get(std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (key == name) return value;
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(items_.begin(), items_.end(),
                     [&](const auto& item) { return item.first == name; });
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stopped != end) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  text = trim(text);
  if (text.size() < 6 || !equal_ignoring_case(text.substr(0, 6), "bytes ")) return std::nullopt;
  text = trim(text.substr(6));
  const std::size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  const std::string_view span = trim(text.substr(0, slash));
  const std::string_view total = trim(text.substr(slash + 1));
  ContentRange range;
  if (total != "*" && !(range.total = parse_number(total))) return std::nullopt;
  if (span == "*") {
    range.unsatisfied = true;
    return range;
  }
  const std::size_t dash = span.find('-');
  if (dash == span.npos) return std::nullopt;
  const auto first = parse_number(span.substr(0, dash));
  const auto last = parse_number(span.substr(dash + 1));
  if (!first || !last || *last < *first || (range.total && *last >= *range.total))
    return std::nullopt;
  range.first = *first;
  range.last = *last;
  return range;
}

std::optional<std::string> find_next_link(std::string_view text) {
  while (true) {
    const std::size_t open = text.find('<');
    if (open == text.npos) return std::nullopt;
    const std::size_t close = text.find('>', open);
    if (close == text.npos) return std::nullopt;
    const std::string_view target = text.substr(open + 1, close - open - 1);
    text.remove_prefix(close + 1);
    std::string_view parameters = take_until(text, ',');
    while (!parameters.empty()) {
      std::string_view item = take_until(parameters, ';');
      const std::string_view key = take_until(item, '=');
      if (equal_ignoring_case(key, "rel") && equal_ignoring_case(unquoted(item), "next"))
        return std::string(target);
    }
  }
}

std::string normal_etag(std::string_view text) {
  text = trim(text);
  if (text.starts_with("W/")) text.remove_prefix(2);
  return std::string(unquoted(text));
}

std::optional<RateLimit> parse_rate_limit(std::string_view text) {
  std::optional<RateLimit> least;
  while (!text.empty()) {
    const std::string_view item = take_until(text, ',');
    const auto left = parameter(item, "r");
    if (!left || (least && least->left <= *left)) continue;
    const auto reset = std::min<std::uint64_t>(parameter(item, "t").value_or(0), 1'000'000);
    least = RateLimit{*left, std::chrono::seconds(reset)};
  }
  return least;
}

std::chrono::milliseconds asked_wait(const Headers& headers) {
  std::chrono::seconds wait{0};
  const auto limit = parse_rate_limit(headers.get("ratelimit"));
  if (limit && limit->left == 0 && limit->reset.count() > 0) {
    wait = limit->reset;
    // No window resets later than it is long.
    const auto window = parameter(headers.get("ratelimit-policy"), "w");
    if (window && static_cast<std::uint64_t>(wait.count()) > *window)
      return std::chrono::milliseconds{0};
  } else if (const auto seconds = parse_number(headers.get("retry-after"))) {
    wait = std::chrono::seconds(std::min<std::uint64_t>(*seconds, 1'000'000));
  } else {
    return std::chrono::milliseconds{0};
  }
  if (wait > kLongestWait) return std::chrono::milliseconds{0};
  return wait + std::chrono::seconds{1};
}

}  // namespace hffs::hub
