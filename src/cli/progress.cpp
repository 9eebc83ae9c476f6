// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace hffs::cli {
namespace {

constexpr std::chrono::milliseconds kOnTerminal{250};
constexpr std::chrono::seconds kElsewhere{10};

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 = byte == 0xc2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xe0) == 0x80;
    if (is_c1) ++i;
    shown.push_back(byte < 0x20 || byte == 0x7f || is_c1 ? '?' : text[i]);
  }
  return shown;
}

std::string text_in(const nlohmann::json& of, const char* name) {
  const auto found = of.find(name);
  return found != of.end() && found->is_string() ? printable(found->get<std::string>()) : std::string();
}

std::uint64_t count_in(const nlohmann::json& of, const char* name) {
  return of.at(name).get<std::uint64_t>();
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1'024 && unit + 1 < kUnits.size(); ++unit) value /= 1'024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string duration_text(std::uint64_t seconds) {
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3'600) return fmt::format("{} min", seconds / 60);
  if (seconds < 86'400) return fmt::format("{} h {} min", seconds / 3'600, seconds % 3'600 / 60);
  return fmt::format("{} d {} h", seconds / 86'400, seconds % 86'400 / 3'600);
}

std::string day_text(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm day{};
  ::localtime_r(&time, &day);
  return fmt::format("{:04}-{:02}-{:02}", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday);
}

Progress::Progress()
    : terminal_(::isatty(STDERR_FILENO) == 1), last_(std::chrono::steady_clock::now()) {}

void Progress::show(const std::string& doing, std::uint64_t files_done, std::uint64_t files,
                    std::uint64_t bytes_done, std::uint64_t bytes) {
  const auto now = std::chrono::steady_clock::now();
  if (doing != doing_) {
    doing_ = doing;
    since_ = now;
    bytes_before_ = bytes_done;
  }
  if (now - last_ < (terminal_ ? std::chrono::milliseconds(kOnTerminal) : kElsewhere)) return;
  last_ = now;
  std::string line = printable(doing);
  if (bytes != 0)
    line += fmt::format(": {} of {}, {} of {} files", bytes_text(bytes_done), bytes_text(bytes),
                        files_done, files);
  else if (bytes_done != 0)
    line += fmt::format(": {}", bytes_text(bytes_done));
  const std::chrono::duration<double> time = now - since_;
  if (time.count() > 1 && bytes_done > bytes_before_) {
    const double rate = static_cast<double>(bytes_done - bytes_before_) / time.count();
    line += fmt::format(", {}/s", bytes_text(static_cast<std::uint64_t>(rate)));
    if (bytes > bytes_done)
      line += fmt::format(
          ", {} left",
          duration_text(static_cast<std::uint64_t>(static_cast<double>(bytes - bytes_done) / rate)));
  }
  if (terminal_)
    fmt::print(stderr, "\r\033[K{}", line);
  else
    fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
  shown_ = terminal_;
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace hffs::cli
