// SPDX-License-Identifier: Apache-2.0
//
// Guard: lets one request connect only where whoever sent us may send us. It looks at the address of the
// socket, so that no name can mean another place when it is connected to than when it was looked at; and
// again at the connection that carries the request, for one that was kept has no new socket. A name with
// several addresses is reached at those that are left. A proxy is the administrator's: behind one only what
// the address says by itself can be looked at. Network thread, out of libcurl's callbacks.
#pragma once

#include <string>

#include "address.h"
#include "curl.h"

namespace hffs::hub {

class Guard {
 public:
  // `from`: who sent us; Zone::loopback: anywhere will do. Must outlive the transfer.
  Guard(Zone from, const Url& url, bool proxied);

  // False: not even to be tried; refusal() says why.
  bool admits_host();
  void watch(CURL* easy);
  // Why there was no connection. Empty: nobody was refused, or another address was there to be tried.
  std::string refusal() const { return opened_ ? std::string() : refused_; }
  // Where the answer came from.
  Zone peer(CURL* easy) const;

 private:
  static curl_socket_t open_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int before_request(void* self, char* peer, char* local, int peer_port, int local_port);
  bool admits(Zone zone, const std::string& address);

  const Zone from_;
  const Url& url_;
  const bool proxied_;
  bool opened_ = false;
  std::string refused_;
};

}  // namespace hffs::hub
