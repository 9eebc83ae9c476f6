// SPDX-License-Identifier: Apache-2.0
//
// Who is at the other end of a connection to the status page (the socket itself: daemon.h): of a unix socket the kernel says
// so, and of a connection within this machine its table of TCP sockets does, by user. Threads: any; reads /proc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control_server.h"
#include "hffs/error.h"

namespace hffs {

// `owner`: who started the daemon. not_found: it cannot be told, or not any more.
Result<Peer> who_connected(int socket, uid_t owner);

// proc(5), /proc/net/tcp: the user of the socket between these two ends, as they are written there; of one that a process has.
std::optional<uid_t> owner_in(std::string_view table, std::string_view own_end, std::string_view far_end);

}  // namespace hffs
