// SPDX-License-Identifier: Apache-2.0
//
// What kind of network an address belongs to, and who may send us there: outward is always possible,
// inward never. A Hub on the internet that redirects to 169.254.169.254 wants something of this machine's
// that it cannot reach itself. Pure; threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;

namespace hffs::hub {

enum class Zone : std::uint8_t {
  loopback,    // this machine
  link_local,  // this link; also where clouds tell a machine its credentials, wherever that is
  reserved,    // unspecified, multicast, broadcast, not given to anybody
  internal,    // RFC 1918, carrier-grade NAT, unique local
  global,      // everything else
};

// IPv4 in IPv6 (mapped, NAT64, 6to4, Teredo) is what it leads to. Not an IP address: reserved.
Zone zone_of(const sockaddr& address);
// Of a host as it stands in a Url: an IP address, or a name that means this machine. Nothing: only who
// resolves it knows.
std::optional<Zone> zone_of_host(std::string_view host);
std::string_view words_for(Zone zone);  // "a loopback address"

// Whether who answered from `from` may send us to `to`. From loopback: everywhere.
bool may_lead(Zone from, Zone to);
// The same for a journey that has been in both.
Zone narrower(Zone a, Zone b);

// A host, or ".suffix" for all names that end so; lower case.
bool is_listed(const std::vector<std::string>& hosts, std::string_view host);

}  // namespace hffs::hub
