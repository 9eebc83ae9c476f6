// SPDX-License-Identifier: Apache-2.0
//
// The journal of adoptions: one JSON object a line, each durable before the step that it announces is
// taken. Of a folder the last line counts. A line that was cut by a stop is none. Threads: one; blocks
// on the disk.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs::adopt {

enum class Step : std::uint8_t {
  adopting,   // the link is made and exchanged for the folder
  adopted,    // the link stands, the original beside it
  undoing,
  undone,     // the folder stands as it was; or was never moved
  finishing,  // the original is removed
  finished,
};

struct Record {
  Step step = Step::adopting;
  std::string cache, name;  // the folder's path in two parts
  std::string target;       // of its link
  uid_t user = 0;
  ino_t inode = 0;  // of the original
  std::uint64_t bytes = 0;
  std::string path() const { return cache + '/' + name; }
};

// What is written here is JSON, and that is UTF-8.
bool is_utf8(const std::string& path);

class Journal {
 public:
  // Code::busy: another process has it.
  static Result<Journal> open(const std::string& path);
  Result<void> write(const Record& record);
  const std::map<std::string, Record>& records() const { return records_; }  // by the folder's path

 private:
  UniqueFd file_;
  std::uint64_t size_ = 0;
  std::map<std::string, Record> records_;
};

}  // namespace hffs::adopt
