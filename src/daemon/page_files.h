// SPDX-License-Identifier: Apache-2.0
//
// The files of src/daemon/page, as the build has put them into the program (scripts/embed). Threads: any; pure.
#pragma once

#include <span>
#include <string_view>

namespace hffs {

struct PageFile {
  std::string_view path, type, text;  // "/page.js", its media type
};
std::span<const PageFile> page_files();

}  // namespace hffs
