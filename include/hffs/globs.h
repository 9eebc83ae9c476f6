// SPDX-License-Identifier: Apache-2.0
//
// Globs: which files of a repository are meant, by the patterns of the Hub's own clients (huggingface_hub's
// filter_repo_objects): * is any text, slashes too, and "data/" is all below it. Threads: a value; nothing blocks.
#pragma once

#include <string>
#include <vector>

namespace hffs {

struct Globs {
  std::vector<std::string> include;  // empty: all
  std::vector<std::string> exclude;
  bool takes(const std::string& path) const;
  bool operator==(const Globs&) const = default;
};

}  // namespace hffs
