// SPDX-License-Identifier: Apache-2.0
#include "mountinfo.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

namespace hffs {
namespace {

bool is_octal(char digit) {
  return digit >= '0' && digit <= '7';
}

// The kernel writes space, tab, newline, backslash and '#' as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end != 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// "36 35 98:0 /root /mount/point options optional… - type source options"
std::optional<MountEntry> parse_line(std::string_view line) {
  const auto fields = split(line, ' ');
  for (std::size_t i = 6; i + 1 < fields.size(); ++i)
    if (fields[i] == "-")
      return MountEntry{std::string(fields[2]), unescape(fields[4]), unescape(fields[i + 1]),
                        i + 3 < fields.size() ? std::string(fields[i + 3]) : ""};
  return std::nullopt;
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  for (const auto line : split(text, '\n'))
    if (auto entry = parse_line(line)) mounts.push_back(std::move(*entry));
  return mounts;
}

Result<std::vector<MountEntry>> load_mounts() {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) return fail(system_error(errno, "reading /proc/self/mountinfo; is /proc mounted?"));
  return parse_mountinfo(std::string(std::istreambuf_iterator<char>(file), {}));
}

const MountEntry* find_top_mount(const std::vector<MountEntry>& mounts, std::string_view path) {
  const MountEntry* top = nullptr;
  for (const auto& mount : mounts)
    if (mount.mount_point == path) top = &mount;
  return top;
}

Result<std::string> load_real_path(const std::string& path) {
  const auto resolve = [](const std::string& name) {
    return std::unique_ptr<char, decltype(&::free)>(::realpath(name.c_str(), nullptr), &::free);
  };
  if (const auto real = resolve(path)) return std::string(real.get());
  const int reason = errno;
  std::string_view rest = path;
  while (rest.size() > 1 && rest.ends_with('/')) rest.remove_suffix(1);
  const std::size_t slash = rest.rfind('/');
  if (reason == ENOTCONN && slash != rest.npos) {
    const auto parent = resolve(slash == 0 ? "/" : std::string(rest.substr(0, slash)));
    const std::string_view name = rest.substr(slash + 1);
    if (parent && name != "." && name != "..")
      return fmt::format("{}/{}", slash == 0 ? "" : parent.get(), name);
  }
  return fail(system_error(reason, path));
}

}  // namespace hffs
