// SPDX-License-Identifier: Apache-2.0
//
// How far long work is, on standard error: a line that is written over on a terminal, one now and
// then elsewhere. Threads: one.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hffs::cli {

// Names and words of others, for a terminal: without what would command it (control characters, C1 ones too).
std::string printable(std::string_view text);
std::string text_in(const nlohmann::json& of, const char* name);  // "" where there is none
std::uint64_t count_in(const nlohmann::json& of, const char* name);  // which must be there
std::string bytes_text(std::uint64_t bytes);
std::string duration_text(std::uint64_t seconds);
std::string day_text(std::int64_t seconds);  // since 1970; local time

class Progress {
 public:
  Progress();
  ~Progress() { clear(); }
  void show(const std::string& doing, std::uint64_t files_done, std::uint64_t files,
            std::uint64_t bytes_done, std::uint64_t bytes);
  // The terminal's line is free for other words.
  void clear();

 private:
  using Time = std::chrono::steady_clock::time_point;
  const bool terminal_;
  bool shown_ = false;
  Time last_;
  // Of what is being done now; the rate is a mean over it.
  std::string doing_;
  Time since_;
  std::uint64_t bytes_before_ = 0;
};

}  // namespace hffs::cli
