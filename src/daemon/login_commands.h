// SPDX-License-Identifier: Apache-2.0
//
// login and logout: a user gives the daemon a token, and takes it back. Whose it is says the socket's peer,
// never the question. Threads: the control thread calls; answers come from any. Blocks on the local disk.
#pragma once

#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/access.h"
#include "hffs/hub.h"
#include "hffs/wallet.h"

namespace hffs {

class LoginCommands {
 public:
  LoginCommands(Origin& origin, AccessControl& access, Wallet& wallet, bool anonymous)
      : origin_(origin), access_(access), wallet_(wallet), anonymous_(anonymous) {}

  // {"token"}: the Hub is asked whose it is; one that it does not know is refused.
  void login(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  // Holds from the next lookup and open on.
  Result<nlohmann::json> logout(const Peer& peer) const;

 private:
  Origin& origin_;
  AccessControl& access_;
  Wallet& wallet_;
  const bool anonymous_;  // no token is sent, so none is taken
};

}  // namespace hffs
