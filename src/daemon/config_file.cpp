// SPDX-License-Identifier: Apache-2.0
#include "config_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "hffs/bounds.h"

namespace hffs {
namespace {

constexpr std::array<std::string_view, 4> kLevels{"debug", "info", "warn", "error"};

// Takes a value, or says what it should have been.
using Take = Result<void> (*)(const toml::node& value, FileSettings& into);

Result<void> wrong(std::string_view what) {
  return fail(Code::invalid, "must be {}", what);
}

template <auto kMember>
Result<void> take_text(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  if (!text || text->empty()) return wrong("a string that is not empty");
  into.*kMember = *text;
  return {};
}

template <auto kMember>
Result<void> take_switch(const toml::node& value, FileSettings& into) {
  const auto on = value.value_exact<bool>();
  if (!on) return wrong("true or false");
  into.*kMember = *on;
  return {};
}

template <auto kMember>
Result<void> take_seconds(const toml::node& value, FileSettings& into) {
  const auto number = value.is_number() ? value.value<double>() : std::nullopt;
  const auto duration = number ? parse_seconds(*number) : std::nullopt;
  if (!duration) return wrong("a number of seconds, 0 or more");
  into.*kMember = *duration;
  return {};
}

template <auto kMember>
Result<void> take_size(const toml::node& value, FileSettings& into) {
  const auto number = value.value_exact<std::int64_t>();
  const auto text = value.value_exact<std::string>();
  const auto size = parse_size(number ? fmt::format("{}", *number) : text.value_or(""));
  if (!size) return wrong("a size, \"500G\", \"1.5T\" or a number of bytes");
  into.*kMember = *size;
  return {};
}

Result<void> take_prefetch(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  into.prefetch = text ? parse_prefetch(*text) : std::nullopt;
  if (!into.prefetch) return wrong("one of \"off\", \"adaptive\", \"file\", \"snapshot\"");
  return {};
}

// Days, for that is how people think of it.
Result<void> take_scrub(const toml::node& value, FileSettings& into) {
  const auto days = value.is_number() ? value.value<double>() : std::nullopt;
  const auto period = days && *days > 0 ? parse_seconds(*days * 24 * 3'600) : std::nullopt;
  if (value.value_exact<std::string>() == "off")
    into.scrub = std::chrono::seconds(0);
  else if (period)
    into.scrub = std::max(std::chrono::ceil<std::chrono::seconds>(*period), std::chrono::seconds(1));
  else
    return wrong("a number of days (all is hashed again once within), or \"off\"");
  return {};
}

Result<void> take_verify(const toml::node& value, FileSettings& into) {
  into.strict = parse_strict(value.value_exact<std::string>().value_or(""));
  if (!into.strict) return wrong("\"complete\" or \"strict\"");
  return {};
}

Result<void> take_user_tokens(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  if (text != "files" && text != "login") return wrong("\"files\" or \"login\"");
  into.user_tokens = text == "files";
  return {};
}

Result<void> take_features(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  if (text != "all" && text != "5.15") return wrong("\"all\" or \"5.15\"");
  into.old_kernel = text == "5.15";
  return {};
}

Result<void> take_status_page(const toml::node& value, FileSettings& into) {
  auto address = parse_status_page(value.value_exact<std::string>().value_or(""));
  if (!address) return fail(address);
  into.status_page = std::move(*address);
  return {};
}

Result<void> take_level(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  into.log_level = text ? parse_level(*text) : std::nullopt;
  if (!into.log_level) return wrong("one of \"debug\", \"info\", \"warn\", \"error\"");
  return {};
}

Result<void> take_endpoints(const toml::node& value, FileSettings& into) {
  const toml::array* list = value.as_array();
  if (list == nullptr || list->empty()) return wrong("a list of URLs, [\"https://…\"]");
  std::vector<std::string> endpoints;
  for (const toml::node& item : *list) {
    const auto text = item.value_exact<std::string>();
    if (!text) return wrong("a list of URLs, [\"https://…\"]");
    auto endpoint = parse_endpoint(*text);
    if (!endpoint) return fail(endpoint);
    endpoints.push_back(std::move(*endpoint));
  }
  into.endpoints = std::move(endpoints);
  return {};
}

// Hosts as they stand in addresses; a suffix keeps its dot.
Result<void> take_hosts(const toml::node& value, FileSettings& into) {
  constexpr std::string_view kWanted = "a list of hosts, [\"minio.lab\", \".lab\", \"10.0.0.5\"]";
  const toml::array* list = value.as_array();
  if (list == nullptr) return wrong(kWanted);
  std::vector<std::string> hosts;
  for (const toml::node& item : *list) {
    auto host = item.value_exact<std::string>().value_or("");
    std::transform(host.begin(), host.end(), host.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (host.size() > 2 && host.starts_with('[') && host.ends_with(']'))
      host = host.substr(1, host.size() - 2);
    const bool address = std::ranges::count(host, ':') > 1;  // one is a port
    const bool good = std::ranges::all_of(host, [&](unsigned char c) {
      return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c > 0x7f || (address && c == ':');
    });
    if (!good || host.empty() || host == ".") return wrong(kWanted);
    hosts.push_back(std::move(host));
  }
  into.internal_hosts = std::move(hosts);
  return {};
}

Result<void> take_proxy(const toml::node& value, FileSettings& into) {
  const auto text = value.value_exact<std::string>();
  auto proxy = parse_proxy(text.value_or("not a string"));
  if (!proxy) return fail(proxy);
  into.proxy = std::move(*proxy);
  return {};
}

Result<void> take_no_proxy(const toml::node& value, FileSettings& into) {
  constexpr std::string_view kWanted = "a list of names, addresses and networks, [\"localhost\", \".lab\", \"10.0.0.0/8\"]";
  const toml::array* list = value.as_array();
  if (list == nullptr) return wrong(kWanted);
  std::string all;
  for (const toml::node& item : *list) {
    const auto text = item.value_exact<std::string>();
    if (!text || text->empty() || text->find_first_of(", \t") != text->npos) return wrong(kWanted);
    all += (all.empty() ? "" : ",") + *text;
  }
  into.no_proxy = std::move(all);
  return {};
}

template <auto kMember>
Result<void> take_patterns(const toml::node& value, FileSettings& into) {
  const toml::array* list = value.as_array();
  if (list == nullptr) return wrong("a list of repositories, [\"ORG/*\", \"datasets/ORG/NAME\"]");
  std::vector<RepoPattern> patterns;
  for (const toml::node& item : *list) {
    const auto text = item.value_exact<std::string>();
    if (!text) return wrong("a list of repositories, [\"ORG/*\", \"datasets/ORG/NAME\"]");
    auto pattern = RepoPattern::parse(*text);
    if (!pattern) return fail(pattern);
    patterns.push_back(std::move(*pattern));
  }
  into.*kMember = std::move(patterns);
  return {};
}

Result<void> take_no_fetch(const toml::node& value, FileSettings& into) {
  const toml::array* list = value.as_array();
  if (list == nullptr) return wrong("a list of process names, [\"updatedb\"]");
  std::vector<std::string> names;
  for (const toml::node& item : *list) {
    const auto text = item.value_exact<std::string>();
    if (!text || text->empty() || text->find('/') != text->npos)
      return wrong("a list of process names, [\"updatedb\"], without their directories");
    names.push_back(*text);
  }
  into.no_fetch = std::move(names);
  return {};
}

bool is_off(const toml::node& value) {
  return value.value_exact<std::string>() == "off";
}

template <auto kMember>
Result<void> take_size_limit(const toml::node& value, FileSettings& into) {
  const auto number = value.value_exact<std::int64_t>();
  const auto text = value.value_exact<std::string>();
  const auto size = parse_size(number ? fmt::format("{}", *number) : text.value_or(""));
  if (is_off(value))
    into.*kMember = FileSettings::Limit();
  else if (size)
    into.*kMember = *size;
  else
    return wrong("a size, \"500G\", \"1.5T\" or a number of bytes, or \"off\"");
  return {};
}

template <auto kMember>
Result<void> take_count_limit(const toml::node& value, FileSettings& into) {
  const auto number = value.value_exact<std::int64_t>();
  if (is_off(value))
    into.*kMember = FileSettings::Limit();
  else if (number && *number >= 0)
    into.*kMember = static_cast<std::uint64_t>(*number);
  else
    return wrong("a whole number, 0 or more, or \"off\"");
  return {};
}

struct Key {
  std::string_view name;
  Take take;
};
constexpr auto kKeys = std::to_array<Key>({
    {"state_dir", take_text<&FileSettings::state_dir>},
    {"endpoints", take_endpoints},
    {"token_file", take_text<&FileSettings::token_file>},
    {"ca_bundle", take_text<&FileSettings::ca_bundle>},
    {"internal_hosts", take_hosts},
    {"proxy", take_proxy},
    {"no_proxy", take_no_proxy},
    {"allow_other", take_switch<&FileSettings::allow_other>},
    {"user_tokens", take_user_tokens},
    {"anonymous", take_switch<&FileSettings::anonymous>},
    {"access_ttl", take_seconds<&FileSettings::access_ttl>},
    {"offline", take_switch<&FileSettings::offline>},
    {"offline_partial", take_switch<&FileSettings::offline_partial>},
    {"log_level", take_level},
    {"log_file", take_text<&FileSettings::log_file>},
    {"status_page", take_status_page},
    {"ref_ttl", take_seconds<&FileSettings::ref_ttl>},
    {"read_deadline", take_seconds<&FileSettings::read_deadline>},
    {"sync_interval", take_seconds<&FileSettings::sync_interval>},
    {"prefetch", take_prefetch},
    {"max_size", take_size<&FileSettings::max_size>},
    {"min_free", take_size<&FileSettings::min_free>},
    {"verify", take_verify},
    {"scrub", take_scrub},
    {"fuse_features", take_features},
    {"allow", take_patterns<&FileSettings::allow>},
    {"deny", take_patterns<&FileSettings::deny>},
    {"no_fetch", take_no_fetch},
    {"user_bytes", take_size_limit<&FileSettings::user_bytes>},
    {"total_bytes", take_size_limit<&FileSettings::total_bytes>},
    {"user_requests", take_count_limit<&FileSettings::user_requests>},
    {"total_requests", take_count_limit<&FileSettings::total_requests>},
    {"user_size", take_size_limit<&FileSettings::user_size>},
    {"user_files", take_count_limit<&FileSettings::user_files>},
    {"total_size", take_size_limit<&FileSettings::total_size>},
    {"total_files", take_count_limit<&FileSettings::total_files>},
});

// "%20" and its like; other '%' stand for themselves.
std::string decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        std::from_chars(&text[i + 1], &text[i + 3], value, 16).ptr == &text[i + 3];
    decoded += escape ? static_cast<char>(value) : text[i];
    if (escape) i += 2;
  }
  return decoded;
}

Result<std::string> parse_folder(std::string_view url) {
  constexpr std::string_view kScheme = "file://";
  std::string path = decode(url.substr(kScheme.size()));
  const auto bad = [&](std::string_view why) {
    return fail(Code::invalid, "the endpoint '{}' {}", url, why);
  };
  if (!path.starts_with('/'))
    return bad("names no absolute path; a folder is written file:///PATH, with three slashes");
  if (std::any_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    return bad("holds a control character");
  path = std::filesystem::path(path).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return std::string(kScheme) + path;
}

std::string known_keys() {
  std::string list;
  for (const Key& key : kKeys) list += fmt::format("{}{}", list.empty() ? "" : ", ", key.name);
  return list;
}

}  // namespace

std::optional<Level> parse_level(std::string_view text) {
  const auto* found = std::find(kLevels.begin(), kLevels.end(), text);
  if (found == kLevels.end()) return std::nullopt;
  return static_cast<Level>(found - kLevels.begin());
}

std::optional<PrefetchPolicy> parse_prefetch(std::string_view text) {
  constexpr std::array<std::string_view, 4> kPolicies{"off", "adaptive", "file", "snapshot"};
  const auto* found = std::find(kPolicies.begin(), kPolicies.end(), text);
  if (found == kPolicies.end()) return std::nullopt;
  return static_cast<PrefetchPolicy>(found - kPolicies.begin());
}

std::optional<bool> parse_strict(std::string_view text) {
  if (text != "complete" && text != "strict") return std::nullopt;
  return text == "strict";
}

std::optional<std::chrono::milliseconds> parse_seconds(double seconds) {
  constexpr double kMost = 10.0 * 365 * 24 * 3'600;  // stays far from the clocks' ends
  if (!std::isfinite(seconds) || seconds < 0 || seconds > kMost) return std::nullopt;
  return std::chrono::milliseconds(std::llround(seconds * 1'000));
}

Result<std::string> parse_endpoint(std::string_view text) {
  if (text.starts_with("file://")) return parse_folder(text);
  const std::string_view all = text;
  const auto bad = [&](std::string_view why) {
    return fail(Code::invalid, "the endpoint '{}' {}", all, why);
  };
  std::string_view rest = text;
  if (rest.starts_with("https://"))
    rest.remove_prefix(8);
  else if (rest.starts_with("http://"))
    rest.remove_prefix(7);
  else
    return bad("must begin with https://, http:// or, for a folder, file:///");
  if (rest.substr(0, rest.find('/')).find('@') != rest.npos)
    return fail(Code::invalid, "an endpoint must not hold a user name or password; use a token");
  if (rest.find_first_of("?#") != rest.npos) return bad("must not hold '?' or '#'");
  if (std::any_of(rest.begin(), rest.end(), [](char c) { return c <= ' ' || c == 0x7f; }))
    return bad("holds a character that no URL has");
  while (text.ends_with('/')) text.remove_suffix(1);
  if (rest.empty() || rest.starts_with('/') || rest.starts_with(':')) return bad("names no host");
  return std::string(text);
}

Result<FileSettings> parse_config_file(std::string_view text, const std::string& path) {
  FileSettings settings;
  // The library's only way to tell.
  try {
    const toml::table table = toml::parse(text);
    for (const auto& [name, value] : table) {
      const auto* key = std::find_if(kKeys.begin(), kKeys.end(),
                                     [&](const Key& its) { return its.name == name.str(); });
      const auto line = name.source().begin.line;
      if (key == kKeys.end())
        return fail(Code::invalid, "{}:{}: unknown key '{}'; the keys are: {}", path, line,
                    name.str(), known_keys());
      if (auto taken = key->take(value, settings); !taken)
        return fail(Code::invalid, "{}:{}: {}: {}", path, line, name.str(), taken.error().message);
    }
  } catch (const toml::parse_error& error) {
    return fail(Code::invalid, "{}:{}: {}", path, error.source().begin.line, error.description());
  }
  return settings;
}

Result<FileSettings> load_config_file(const std::string& path) {
  // A stream opens a directory, and throws at the first byte.
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return fail(system_error(EISDIR, fmt::format("reading {}", path)));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(system_error(errno != 0 ? errno : EIO, fmt::format("reading {}", path)));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) return fail(Code::io, "reading {} failed", path);
  return parse_config_file(text, path);
}

}  // namespace hffs
