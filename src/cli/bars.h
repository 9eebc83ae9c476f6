// SPDX-License-Identifier: Apache-2.0
//
// Bars: how far each of several files is, and a total with rate and time left, on standard error: written over on a
// terminal, the total now and then elsewhere. Threads: one.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hffs::cli {

class Bars {
 public:
  struct Line {
    std::string name;
    std::uint64_t here = 0, size = 0;
    std::string note;  // instead of the rate
  };
  struct Total {
    std::uint64_t files_done = 0, files = 0, bytes_done = 0, bytes = 0;
  };
  Bars();
  ~Bars() { clear(); }
  void show(const std::vector<Line>& lines, const Total& total);
  void clear();

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Speed {
    Time since;
    std::uint64_t before = 0;
  };
  double rate(const std::string& name, std::uint64_t here, Time now);

  const bool terminal_;
  std::size_t shown_ = 0;  // lines
  Time last_;
  std::map<std::string, Speed> speeds_;
};

// "[####----]", `width` long in all.
std::string bar_text(std::uint64_t here, std::uint64_t size, std::size_t width);
// Columns and rows of the terminal behind `fd`, or 80 and 24.
std::pair<std::size_t, std::size_t> terminal_size(int fd);
// `width` columns of it; the end counts more than the beginning.
std::string fitted(const std::string& text, std::size_t width);
// Its beginning, at most `width` columns: what a terminal would break could not be written over.
std::string cut(const std::string& text, std::size_t width);

}  // namespace hffs::cli
