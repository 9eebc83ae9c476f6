// SPDX-License-Identifier: Apache-2.0
//
// The address of a socket file, however long its path is: sun_path holds 107 bytes, so the
// directory is opened and the name goes through /proc/self/fd. Threads: any; blocks on the disk.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "hffs/error.h"
#include "hffs/posix.h"

namespace hffs {

class ControlAddress {
 public:
  static Result<ControlAddress> of(const std::string& path);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return sizeof(address_); }

 private:
  UniqueFd directory_;  // must stay open for as long as the address is used
  sockaddr_un address_{};
};

}  // namespace hffs
