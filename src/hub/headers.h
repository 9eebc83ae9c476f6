// SPDX-License-Identifier: Apache-2.0
//
// Headers of an answer, and the values in them that decide something. All of it is untrusted text:
// what cannot be read is absent. Threads: values, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hffs::hub {

class Headers {
 public:
  void add(std::string_view name, std::string_view value);
  void append(const Headers& more);
  void clear() { items_.clear(); }
  // The first of that name (lower case); empty text where there is none.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  std::size_t size() const { return items_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

std::string_view trim(std::string_view text);
// Digits only, no sign, no overflow.
std::optional<std::uint64_t> parse_number(std::string_view text);

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;  // "*": nothing
  bool unsatisfied = false;            // "bytes */N"
};
std::optional<ContentRange> parse_content_range(std::string_view text);

// `<URL>; rel="next"`.
std::optional<std::string> find_next_link(std::string_view text);

// An ETag without W/ and quotes.
std::string normal_etag(std::string_view text);

// `"api";r=12;t=55`: of several, the one with the least left.
struct RateLimit {
  std::uint64_t left = 0;
  std::chrono::seconds reset{0};
};
std::optional<RateLimit> parse_rate_limit(std::string_view text);

// How long a 429 or 503 asks us to wait; zero where it does not say, or says nonsense.
std::chrono::milliseconds asked_wait(const Headers& headers);

}  // namespace hffs::hub
