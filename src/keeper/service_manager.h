// SPDX-License-Identifier: Apache-2.0
//
// What the service manager hears of us: datagrams to $NOTIFY_SOCKET, as sd_notify(3) has it; without its library, for it is
// no more than this. Nobody has to hear us, so nothing here fails, or waits for more than a second. Threads: the
// keeper's one.
#pragma once

#include <string>
#include <string_view>

#include "hffs/posix.h"

namespace hffs::keeper {

class ServiceManager {
 public:
  // Takes the variable away: whoever we start is not the service.
  explicit ServiceManager(bool speaks);

  // `status` is one line for people. What stands in it may come from outside.
  void ready(std::string_view status) { tell("READY=1", status); }
  void reloading(std::string_view status);
  void stopping(std::string_view status) { tell("STOPPING=1", status); }
  void status(std::string_view status) { tell("", status); }

 private:
  void tell(std::string_view what, std::string_view status);

  UniqueFd socket_;
  std::string address_;  // as in sockaddr_un; empty: nobody listens
};

// One line, short, of whole characters: a newline would begin another assignment.
std::string status_line(std::string_view text);

}  // namespace hffs::keeper
