// SPDX-License-Identifier: Apache-2.0
//
// Settings: each chosen from flag, environment, file and default, in that order. Threads: one; reads
// the configuration and the token's file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config_file.h"
#include "hffs/daemon.h"

namespace hffs {

class Settings {
 public:
  Settings(const Flags& flags, const Environment& environment)
      : flags_(flags), environment_(environment) {}

  Result<void> load_file();
  Result<std::string> state_dir() const;
  Result<std::vector<std::string>> endpoints() const;
  Result<Secret> token() const;
  Result<bool> offline() const;
  std::string ca_bundle() const;
  Result<Level> log_level() const;
  Result<PrefetchPolicy> prefetch() const;
  Result<bool> strict() const;
  Result<std::string> status_page() const;
  const FileSettings& file() const { return file_; }
  const std::string& file_path() const { return file_path_; }  // empty: there is none
  std::string absolute(const std::string& path) const;
  // An empty variable says nothing, as for the Hub's own clients.
  std::optional<std::string> variable(std::string_view name) const {
    auto value = environment_(name);
    if (value && value->empty()) value.reset();
    return value;
  }

 private:
  // $VARIABLE, or ~/FALLBACK.
  std::optional<std::string> user_directory(std::string_view name, std::string_view fallback) const;

  const Flags& flags_;
  const Environment& environment_;
  FileSettings file_;
  std::string file_path_;
};

}  // namespace hffs
