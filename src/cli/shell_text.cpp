// SPDX-License-Identifier: Apache-2.0
#include "shell_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace hffs::cli {
namespace {

// What no shell takes for anything but itself, wherever in a word it stands.
bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-./:@%+,").find(c) != std::string_view::npos;
}

// A character within single quotes.
std::string within_quotes(char c, Shell shell) {
  if (shell == Shell::fish) return c == '\'' || c == '\\' ? fmt::format("\\{}", c) : std::string(1, c);
  if (c == '\'') return R"('\'')";
  // csh looks for its history in quotes, too, and ends a line there.
  if (shell == Shell::csh && (c == '!' || c == '\n')) return fmt::format("\\{}", c);
  return std::string(1, c);
}

}  // namespace

std::string shell_word(std::string_view word, Shell shell) {
  if (!word.empty() && std::ranges::all_of(word, is_plain)) return std::string(word);
  std::string text = "'";
  for (const char c : word) text += within_quotes(c, shell);
  return text + "'";
}

std::string command_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_word(word);
  return line;
}

std::string export_line(std::string_view name, std::string_view value, Shell shell) {
  const std::string text = shell_word(value, shell);
  switch (shell) {
    case Shell::fish: return fmt::format("set -gx {} {};", name, text);
    case Shell::csh: return fmt::format("setenv {} {};", name, text);
    case Shell::sh: break;
  }
  return fmt::format("export {}={}", name, text);
}

// The semicolons are for csh and fish, whose eval makes one line of all.
std::string unset_line(std::string_view name, Shell shell) {
  switch (shell) {
    case Shell::fish: return fmt::format("set -e {};", name);
    case Shell::csh: return fmt::format("unsetenv {};", name);
    case Shell::sh: break;
  }
  return fmt::format("unset {}", name);
}

}  // namespace hffs::cli
