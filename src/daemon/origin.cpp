// SPDX-License-Identifier: Apache-2.0
#include "origin.h"

#include <algorithm>
#include <array>

#include "config_file.h"
#include "hffs/folder_origin.h"

namespace hffs {
namespace {

constexpr std::string_view kFolder = "file://";

}  // namespace

std::vector<std::string> folders_of(const Config& config) {
  std::vector<std::string> folders;
  for (const std::string& endpoint : config.endpoints)
    if (endpoint.starts_with(kFolder)) folders.push_back(endpoint.substr(kFolder.size()));
  return folders;
}

bool has_folder(const Config& config) {
  return !folders_of(config).empty();
}

bool has_hub(const Config& config) {
  for (const std::string& endpoint : config.endpoints)
    if (!endpoint.starts_with(kFolder)) return true;
  return false;
}

Result<std::string> parse_proxy(std::string_view text) {
  const auto wrong = fail(Code::invalid, "must be \"http://HOST:PORT\" (or https://, socks5://, socks5h://), or \"\" for none");
  constexpr std::array<std::string_view, 4> kSchemes{"http://", "https://", "socks5://", "socks5h://"};
  if (text.empty()) return std::string();
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= ' ' || c == 0x7f; })) return wrong;
  const auto* scheme = std::ranges::find_if(kSchemes, [&](std::string_view its) { return text.starts_with(its); });
  if (scheme == kSchemes.end()) return wrong;
  std::string_view place = text.substr(scheme->size());
  if (place.ends_with('/')) place.remove_suffix(1);
  if (place.find_first_of("/?#") != place.npos) return wrong;
  place.remove_prefix(place.rfind('@') == place.npos ? 0 : place.rfind('@') + 1);
  const std::size_t colon = std::min(place.rfind(':'), place.size());
  const std::string_view host = place.substr(0, colon), port = place.substr(std::min(colon + 1, place.size()));
  const bool named = !host.empty() && (host.find(':') == host.npos || (host.starts_with('[') && host.ends_with(']')));
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  if (!named || !digits || port.empty() || port.size() > 5) return wrong;
  return std::string(text);
}

Result<std::unique_ptr<Origin>> open_origin(const Config& config, Credentials* credentials,
                                            std::function<void(const std::string& folder)> unreadable,
                                            const Clock& clock, Metrics& metrics) {
  std::vector<std::unique_ptr<Origin>> folders;
  for (std::string& path : folders_of(config))
    folders.push_back(open_folder({.path = std::move(path), .unreadable = unreadable}, metrics));
  std::vector<std::string> hubs;
  for (const std::string& endpoint : config.endpoints)
    if (!endpoint.starts_with(kFolder)) hubs.push_back(endpoint);
  std::unique_ptr<Origin> hub;
  if (!hubs.empty()) {
    auto opened = open_hub({.endpoints = std::move(hubs),
                            .token = config.token,
                            .credentials = credentials,
                            .ca_bundle = config.ca_bundle,
                            .internal_hosts = config.internal_hosts,
                            .proxy = config.proxy,
                            .user_agent = fmt::format("hffs/{}", HFFS_VERSION),
                            .offline = config.offline},
                           clock, metrics);
    if (!opened || folders.empty()) return opened;
    hub = std::move(*opened);
  }
  if (!hub && folders.size() == 1) return std::move(folders.front());
  return combine(std::move(folders), std::move(hub));
}

}  // namespace hffs
