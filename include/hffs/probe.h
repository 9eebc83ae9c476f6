// SPDX-License-Identifier: Apache-2.0
//
// One question to an endpoint, told step by step: how far it got, and what stopped it. With the certificates, the proxies
// and the words of the Hub's client, by which it says what a daemon that is started now would meet.
//
// Threads: any; blocks for at most `limit`, and may then leave a look-up of a name behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "hffs/credentials.h"

namespace hffs {

struct ProbeOptions {
  std::string endpoint;   // https://HOST[:PORT][/PATH]
  Secret token;           // asked whose it is; empty: none is sent
  std::string ca_bundle;  // as in OriginOptions
  ProxyChoice proxy;
  std::string user_agent = "hffs";
  std::chrono::milliseconds limit{10'000};
};

struct EndpointProbe {
  enum class Step : std::uint8_t {
    begin,    // the address or the CA bundle cannot be used
    resolve,  // no address has this name
    connect,  // nobody takes the connection
    secure,   // TLS: who answers is not believed
    answer,   // what came is not what a Hub says
    done,
  };
  // Where it ended.
  Step step = Step::begin;
  std::string why;  // empty if done
  std::string via;  // the proxy, without its user; empty: none
  std::string address;  // who was spoken to
  int status = 0;       // of HTTP
  std::optional<std::int64_t> date;  // the answer's, in seconds since 1970
  // What was said of the token.
  enum class Token : std::uint8_t { not_asked, good, bad, untold };
  Token token = Token::not_asked;
  std::string user;  // whose it is, where it is good

  bool ok() const { return step == Step::done; }
};
EndpointProbe probe_endpoint(const ProbeOptions& options);

}  // namespace hffs
