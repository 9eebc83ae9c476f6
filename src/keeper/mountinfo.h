// SPDX-License-Identifier: Apache-2.0
//
// What is mounted where, as the kernel tells it. Threads: any; load_mounts() reads /proc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/error.h"

namespace hffs {

inline constexpr std::string_view kFileSystemType = "fuse.hffs";

struct MountEntry {
  std::string device;  // "major:minor"
  std::string mount_point;
  std::string type;
  std::string options;  // the file system's own
};

// Lines of proc_pid_mountinfo(5), in the kernel's order; malformed ones are left out.
std::vector<MountEntry> parse_mountinfo(std::string_view text);
Result<std::vector<MountEntry>> load_mounts();

// What a path shows: the last mount on exactly that path.
const MountEntry* find_top_mount(const std::vector<MountEntry>& mounts, std::string_view path);

// `path` without symbolic links and "..", as mountinfo spells it. Works for a dead mount too, whose
// own root cannot be examined.
Result<std::string> load_real_path(const std::string& path);

}  // namespace hffs
