// SPDX-License-Identifier: Apache-2.0
//
// StatusPage: HTTP for people with a browser and for Prometheus. It answers what the control socket answers, to whom the
// control socket would (page_socket.h says who looks), and takes GET and HEAD alone. Browsers speak for whoever wrote the
// page that they show, so a request counts only under a name of this machine, and of no other site.
//
//   /, /page.css, /page.js, /icon.svg       the page
//   /api/activity, /api/status              the commands of these names
//   /api/repos?from=N                       ls
//   /api/files?repo=R&commit=C&from=N       files, with their parts
//   /metrics                                exposition.h
//
// Bounded: connections, bytes of a request's head, and the time from one answer to the end of the next.
//
// Threads: open() and the destructor, one; two of its own, one of which calls `ask`, whose Done may come from any.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/daemon.h"
#include "hffs/error.h"

namespace hffs {

class StatusPage {
 public:
  using Ask = std::function<void(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json>)>;

  // Nothing where there is to be none, or where none can be had: the log says why, and the mount goes on without.
  static std::unique_ptr<StatusPage> open(const Config& config, Ask ask);
  // `ask` is not called any more. What it has not answered is answered with an error.
  virtual ~StatusPage() = default;
};

// Whether a Host header names this machine: localhost, 127.0.0.1, [::1] or the page's own address, with any port, for a tunnel
// has its own.
bool names_this_machine(std::string_view host, std::string_view address);

}  // namespace hffs
