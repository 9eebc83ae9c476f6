// SPDX-License-Identifier: Apache-2.0
#include "bars.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "progress.h"

namespace hffs::cli {
namespace {

constexpr std::chrono::milliseconds kRedrawn{200};
constexpr std::chrono::seconds kLogged{10};
constexpr std::size_t kBar = 22, kShortBar = 10, kFigures = 36;

// Of several bytes, in UTF-8: not its first one.
bool is_within_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

std::string rate_text(double bytes_per_second) {
  return fmt::format("{}/s", bytes_text(static_cast<std::uint64_t>(bytes_per_second)));
}

}  // namespace

std::string bar_text(std::uint64_t here, std::uint64_t size, std::size_t width) {
  const std::size_t inner = width - 2;
  const std::size_t full = size == 0 ? inner : static_cast<std::size_t>(static_cast<double>(here) / static_cast<double>(size) * static_cast<double>(inner));
  return fmt::format("[{}{}]", std::string(std::min(full, inner), '#'), std::string(inner - std::min(full, inner), '-'));
}

std::pair<std::size_t, std::size_t> terminal_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {80, 24};
  return {size.ws_col, size.ws_row};
}

std::string fitted(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text + std::string(width - text.size(), ' ');
  std::size_t from = text.size() - width + 1;
  while (from < text.size() && is_within_character(text[from])) ++from;
  return "~" + text.substr(from);
}

std::string cut(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  while (width > 0 && is_within_character(text[width])) --width;
  return text.substr(0, width);
}

Bars::Bars() : terminal_(::isatty(STDERR_FILENO) == 1), last_(std::chrono::steady_clock::now() - kRedrawn) {}

// A mean over some seconds; what was here before counts for nothing.
double Bars::rate(const std::string& name, std::uint64_t here, Time now) {
  auto [found, first] = speeds_.try_emplace(name, Speed{now, here});
  Speed& speed = found->second;
  const std::chrono::duration<double> time = now - speed.since;
  if (time.count() < 0.5) return 0;
  const double rate = here < speed.before ? 0 : static_cast<double>(here - speed.before) / time.count();
  if (time.count() > 10)
    speed = {now - std::chrono::seconds(5), here - static_cast<std::uint64_t>(std::min(rate * 5, static_cast<double>(here)))};
  return rate;
}

void Bars::show(const std::vector<Line>& lines, const Total& total) {
  const Time now = std::chrono::steady_clock::now();
  const double all = rate("", total.bytes_done, now);
  if (now - last_ < (terminal_ ? std::chrono::milliseconds(kRedrawn) : std::chrono::milliseconds(kLogged))) return;
  last_ = now;
  std::string figures = fmt::format("{} of {}, {} of {} files", bytes_text(total.bytes_done), bytes_text(total.bytes),
                                    total.files_done, total.files);
  if (all > 0) figures += ", " + rate_text(all);
  if (all > 0 && total.bytes > total.bytes_done)
    figures += fmt::format(", {} left", duration_text(static_cast<std::uint64_t>(static_cast<double>(total.bytes - total.bytes_done) / all)));
  if (!terminal_) {
    fmt::print(stderr, "{}\n", figures);
    for (const Line& line : lines)
      if (!line.note.empty()) fmt::print(stderr, "  {}: {}\n", line.name, line.note);
    return;
  }
  clear();
  const auto [columns, rows] = terminal_size(STDERR_FILENO);
  const std::size_t bar = columns < 80 ? kShortBar : kBar;
  const std::size_t name = columns > bar + kFigures + 14 ? columns - bar - kFigures : 14;
  std::string text;
  for (const Line& line : lines) {
    if (shown_ + 2 >= rows) break;
    const double speed = rate(line.name, line.here, now);
    std::string row = fmt::format("{} {} {:>3} % {:>10}  ", fitted(line.name, name), bar_text(line.here, line.size, bar),
                                  line.size == 0 ? 100 : 100 * line.here / line.size, bytes_text(line.size));
    row += line.note.empty() ? (speed > 0 ? rate_text(speed) : "") : line.note;
    text += cut(row, columns - 1) + "\n";
    ++shown_;
  }
  text += cut(figures, columns - 1) + "\n";
  ++shown_;
  fmt::print(stderr, "{}", text);
  std::fflush(stderr);
}

void Bars::clear() {
  if (shown_ != 0) fmt::print(stderr, "\033[{}A\033[J", shown_);
  shown_ = 0;
}

}  // namespace hffs::cli
