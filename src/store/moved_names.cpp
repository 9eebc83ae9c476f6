// SPDX-License-Identifier: Apache-2.0
#include "moved_names.h"

namespace hffs {

Result<void> MovedNames::move(const std::string& from, const std::string& to,
                              const std::string& folder) {
  const std::lock_guard lock(mutex_);
  if (auto moved = disk_.rename(from, to); !moved) return moved;
  folders_.insert(folder);
  return {};
}

void MovedNames::note(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  folders_.insert(folder);
}

Result<void> MovedNames::sync_noted() {
  while (!folders_.empty()) {
    if (auto synced = disk_.sync_directory(*folders_.begin()); !synced) return synced;
    folders_.erase(folders_.begin());
  }
  return {};
}

Result<void> MovedNames::sync() {
  const std::lock_guard lock(mutex_);
  return sync_noted();
}

Result<void> MovedNames::sync_source(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  if (auto synced = sync_noted(); !synced) return synced;
  return disk_.sync_directory(directory);
}

}  // namespace hffs
