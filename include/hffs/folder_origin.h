// SPDX-License-Identifier: Apache-2.0
//
// A folder as origin: names and bytes out of a directory, which may be a Hugging Face cache (in any of
// its layouts, or what HF_HOME names) or hold plain folders ORG/NAME; and several origins as one. What
// that means to users: docs/SEMANTICS.md, "A folder as origin".
//
// The directory is read only, never left through a link, and may lie on a server that hangs: all calls
// to the file system are made by a few threads of the folder's own, each of which may hang for
// ever. One more thread answers, and never touches the file system; so deadlines hold, and a folder
// that does not answer is known as down within `silence` and a probe, until a probe is answered.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hffs/hub.h"

namespace hffs {

struct FolderOptions {
  std::string path;  // absolute
  // Of a question about names, as the Hub's. Naming the files of a plain folder may take longer: it
  // goes on behind, and who asks again later is answered.
  std::chrono::milliseconds deadline{8'000};
  // A call to the file system that lasts longer hangs.
  std::chrono::milliseconds silence{5'000};
  std::chrono::milliseconds probe_interval{1'000};
  int readers = 6, hashers = 2;  // threads, at most
  // Told when it could not be read, or a part of it; on a thread that may hang.
  std::function<void(const std::string& path)> unreadable = [](const std::string&) {};
};

// Starts; the path need not be there yet. The destructor waits a moment for threads, and leaves behind
// those that hang.
std::unique_ptr<Origin> open_folder(FolderOptions options, Metrics& metrics);

// Names come from the Hub, and from the folders, in order, where it cannot be asked or does not have
// them; bytes come from the first folder that has them, else from the Hub. `hub` may be empty, or
// `folders`.
std::unique_ptr<Origin> combine(std::vector<std::unique_ptr<Origin>> folders,
                                std::unique_ptr<Origin> hub);

}  // namespace hffs
