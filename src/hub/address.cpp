// SPDX-License-Identifier: Apache-2.0
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace hffs::hub {
namespace {

struct Block4 {
  std::uint32_t network;
  int bits;
  Zone zone;
};

constexpr std::uint32_t v4(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// The IANA registry of special addresses, and where clouds keep what a machine may be. First match. The
// documentation's networks are nobody's, and so nobody's secret.
constexpr std::array kBlocks4{
    Block4{v4(100, 100, 100, 200), 32, Zone::link_local},  // Alibaba's metadata, within CGNAT
    Block4{v4(168, 63, 129, 16), 32, Zone::link_local},    // Azure's host, a public address
    Block4{v4(192, 0, 0, 192), 32, Zone::link_local},      // Oracle's metadata
    Block4{v4(0, 0, 0, 0), 8, Zone::reserved},
    Block4{v4(10, 0, 0, 0), 8, Zone::internal},
    Block4{v4(100, 64, 0, 0), 10, Zone::internal},
    Block4{v4(127, 0, 0, 0), 8, Zone::loopback},
    Block4{v4(169, 254, 0, 0), 16, Zone::link_local},
    Block4{v4(172, 16, 0, 0), 12, Zone::internal},
    Block4{v4(192, 0, 0, 0), 24, Zone::internal},
    Block4{v4(192, 168, 0, 0), 16, Zone::internal},
    Block4{v4(198, 18, 0, 0), 15, Zone::internal},
    Block4{v4(224, 0, 0, 0), 3, Zone::reserved},  // multicast, class E, broadcast
};

using Bytes6 = std::array<std::uint8_t, 16>;

Zone zone_of_v4(std::uint32_t address) {
  for (const Block4& block : kBlocks4)
    if ((address ^ block.network) >> (32 - block.bits) == 0) return block.zone;
  return Zone::global;
}

std::uint32_t v4_at(const Bytes6& address, std::size_t at) {
  return v4(address[at], address[at + 1], address[at + 2], address[at + 3]);
}

bool begins_with(const Bytes6& address, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), address.begin());
}

// Only 2000::/3 is given to anybody.
Zone zone_of_v6(const Bytes6& address) {
  const auto zeros = static_cast<std::size_t>(
      std::find_if(address.begin(), address.end(), [](auto byte) { return byte != 0; }) -
      address.begin());
  if (zeros == 16) return Zone::reserved;
  if (zeros == 15 && address[15] == 1) return Zone::loopback;
  if (zeros >= 12) return zone_of_v4(v4_at(address, 12));  // "compatible", long abolished
  if (begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}))
    return zone_of_v4(v4_at(address, 12));
  if (begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}))
    return zone_of_v4(v4_at(address, 12));  // "translated"
  if (begins_with(address, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}))
    return zone_of_v4(v4_at(address, 12));  // NAT64
  if (begins_with(address, {0, 0x64, 0xff, 0x9b, 0, 1})) return Zone::internal;  // a site's own NAT64
  if (begins_with(address, {0x20, 0x02})) return zone_of_v4(v4_at(address, 2));  // 6to4
  if (begins_with(address, {0x20, 0x01, 0, 0})) return zone_of_v4(~v4_at(address, 12));  // Teredo
  if (begins_with(address, {0xfd, 0x00, 0x0e, 0xc2})) return Zone::link_local;  // AWS's metadata
  if ((address[0] & 0xfe) == 0xfc) return Zone::internal;
  if (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) return Zone::link_local;
  if (address[0] == 0xfe && (address[1] & 0xc0) == 0xc0) return Zone::internal;  // site-local
  return (address[0] & 0xe0) == 0x20 ? Zone::global : Zone::reserved;
}

}  // namespace

Zone zone_of(const sockaddr& address) {
  // By copies: what libcurl hands out need not be aligned for its real type.
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return zone_of_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    Bytes6 bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return zone_of_v6(bytes);
  }
  return Zone::reserved;
}

std::optional<Zone> zone_of_host(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host == "localhost" || host.ends_with(".localhost")) return Zone::loopback;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string text(host.substr(0, host.find('%')));  // fe80::1%eth0
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return zone_of_v4(ntohl(v4.s_addr));
  Bytes6 v6;
  if (::inet_pton(AF_INET6, text.c_str(), v6.data()) == 1) return zone_of_v6(v6);
  return std::nullopt;
}

std::string_view words_for(Zone zone) {
  switch (zone) {
    case Zone::loopback: return "a loopback address";
    case Zone::link_local: return "a link-local or metadata address";
    case Zone::reserved: return "a reserved address";
    case Zone::internal: return "a private address";
    case Zone::global: break;
  }
  return "a public address";
}

bool may_lead(Zone from, Zone to) {
  return from == Zone::loopback || to == Zone::global || from == to;
}

Zone narrower(Zone a, Zone b) {
  if (a == Zone::loopback || a == b) return b;
  return b == Zone::loopback ? a : Zone::global;
}

bool is_listed(const std::vector<std::string>& hosts, std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::any_of(hosts.begin(), hosts.end(), [&](const std::string& listed) {
    return listed.starts_with('.') ? host.size() > listed.size() && host.ends_with(listed)
                                   : host == listed;
  });
}

}  // namespace hffs::hub
