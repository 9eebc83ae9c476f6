// SPDX-License-Identifier: Apache-2.0
//
// The configuration file: TOML, flat, every key known. Threads: any; blocks on the disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/error.h"
#include "hffs/policy.h"
#include "hffs/prefetch.h"
#include "hffs/telemetry.h"

namespace hffs {

struct FileSettings {
  std::optional<std::string> state_dir, token_file, ca_bundle, log_file, status_page, proxy, no_proxy;
  std::optional<std::vector<std::string>> endpoints, internal_hosts;
  std::optional<bool> allow_other, user_tokens, anonymous, offline, offline_partial, old_kernel, strict;
  std::optional<std::chrono::seconds> scrub;
  std::optional<Level> log_level;
  std::optional<PrefetchPolicy> prefetch;
  std::optional<std::chrono::milliseconds> ref_ttl, read_deadline, sync_interval, access_ttl;
  std::optional<std::uint64_t> max_size, min_free;  // bytes
  std::optional<std::vector<RepoPattern>> allow, deny;
  std::optional<std::vector<std::string>> no_fetch;
  using Limit = std::optional<std::uint64_t>;  // nothing: "off"
  std::optional<Limit> user_bytes, total_bytes, user_requests, total_requests, user_size, user_files,
      total_size, total_files;
};

// Code::invalid: "FILE:LINE: KEY …". Code::not_found: there is no such file.
Result<FileSettings> load_config_file(const std::string& path);
Result<FileSettings> parse_config_file(std::string_view text, const std::string& path);

// What settings are made of, wherever they come from. Empty: not one.
std::optional<Level> parse_level(std::string_view text);
std::optional<PrefetchPolicy> parse_prefetch(std::string_view text);
std::optional<std::chrono::milliseconds> parse_seconds(double seconds);
std::optional<bool> parse_strict(std::string_view text);
// "off" is empty.
Result<std::string> parse_status_page(std::string_view text);
// Empty is none. An error holds nothing of it, for there may be a password in it.
Result<std::string> parse_proxy(std::string_view text);
// Without a trailing slash.
Result<std::string> parse_endpoint(std::string_view text);

}  // namespace hffs
