// SPDX-License-Identifier: Apache-2.0
//
// The variables by which the Hub's clients find their cache, and those that keep them from finding the mount.
// Threads: any; blocks on the disk, and on the mount, which should answer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "hffs/daemon.h"

namespace hffs::cli {

// What makes every client read the mount. Never HF_HOME: tokens and Python modules belong on the user's own disk.
std::vector<std::pair<std::string, std::string>> client_variables(const std::string& mount_point, bool offline_clients);

struct VariableFinding {
  enum class Harm {
    replaced,   // names another cache, until client_variables() say otherwise
    overrides,  // goes before client_variables() with some clients
    spoils,     // makes clients write into the mount what does not belong there
  };
  std::string name, value;
  Harm harm;
  std::string why;
};
std::vector<VariableFinding> find_variables(const Environment& environment, const std::string& mount_point);

// Each on standard error, and that it is replaced or unset.
void print_findings(const std::vector<VariableFinding>& findings);

// A path of a variable, as clients read it, is the mount itself.
bool is_mount(const std::string& path, const std::string& mount_point, const Environment& environment);

}  // namespace hffs::cli
