// SPDX-License-Identifier: Apache-2.0
//
// Redirects, followed by hand, for the token's sake: it goes to the endpoint's own origin (scheme,
// host and port) and nowhere else, and once a journey has left that origin it never carries the
// token again. Pure.
#pragma once

#include <set>
#include <string>

#include "address.h"
#include "headers.h"
#include "url.h"

namespace hffs::hub {

bool is_redirect(int status);

class Journey {
 public:
  Journey(Url endpoint, Url start);
  // From a signed address that was kept, and who gave it: no token, wherever that is.
  Journey(Url endpoint, Url kept, Zone sender);

  const Url& here() const { return here_; }
  // Nobody but the endpoint has been asked since the start: the token may go along.
  bool at_home() const { return !left_; }
  // From where we are sent on, of all that answered so far the least trusted; loopback: nobody did.
  Zone sender() const { return sender_; }
  void note_answer(Zone peer) { sender_ = narrower(sender_, peer); }

  // Takes the next step, or says why not: no address, more than 20 hops, a loop, or a step from
  // https to http.
  Result<void> follow(const Headers& headers);

 private:
  Url endpoint_, here_;
  std::set<std::string> visited_;
  bool left_ = false;
  Zone sender_;
};

}  // namespace hffs::hub
