// SPDX-License-Identifier: Apache-2.0
#include "origin.h"

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
