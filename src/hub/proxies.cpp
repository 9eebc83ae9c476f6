// SPDX-License-Identifier: Apache-2.0
#include "proxies.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "headers.h"
#include "hffs/credentials.h"

namespace hffs::hub {
namespace {

// Address bytes; none of a name.
std::vector<std::uint8_t> bytes_of(std::string_view host) {
  std::array<std::uint8_t, 16> bytes{};
  const std::string text(host);
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1)
    return {bytes.begin(), bytes.begin() + 4};
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return {bytes.begin(), bytes.end()};
  return {};
}

bool in_network(const std::vector<std::uint8_t>& address, std::string_view network) {
  const std::size_t slash = network.find('/');
  const auto other = bytes_of(network.substr(0, slash));
  if (other.empty() || other.size() != address.size()) return false;
  std::uint64_t bits = 8 * other.size();
  if (slash != network.npos) {
    const auto given = parse_number(network.substr(slash + 1));
    if (!given || *given > bits) return false;
    bits = *given;
  }
  for (std::size_t i = 0; i < other.size() && bits > 0; ++i) {
    const auto part = static_cast<int>(std::min<std::uint64_t>(bits, 8));
    if ((address[i] ^ other[i]) >> (8 - part) != 0) return false;
    bits -= static_cast<std::uint64_t>(part);
  }
  return true;
}

bool is_domain_of(std::string_view host, std::string_view domain) {
  if (domain.starts_with('.')) domain.remove_prefix(1);
  if (domain.ends_with('.')) domain.remove_suffix(1);
  if (domain.empty() || !host.ends_with(domain)) return false;
  return host.size() == domain.size() || host[host.size() - domain.size() - 1] == '.';
}

}  // namespace

std::string_view Proxies::of(const Url& url) const {
  std::string_view host = url.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.ends_with('.')) host.remove_suffix(1);
  const auto address = bytes_of(host);
  for (const std::string& item : exempt)
    if (item == "*" || (address.empty() ? is_domain_of(host, item) : in_network(address, item)))
      return {};
  return url.scheme == "https" ? https : http;
}

Proxies read_proxies(const Variable& variable) {
  const auto first = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (auto value = variable(name); !value.empty()) return value;
    return std::string();
  };
  // libcurl ignores HTTP_PROXY, which CGI programs must distrust; for a daemon it is what other clients of
  // the Hub use.
  Proxies proxies{.http = first({"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}),
                  .https = first({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}),
                  .exempt = {}};
  const std::string list = first({"no_proxy", "NO_PROXY"});
  constexpr std::string_view kBetween = ", \t";
  for (std::size_t at = list.find_first_not_of(kBetween); at != list.npos;) {
    const std::size_t end = list.find_first_of(kBetween, at);
    std::string item = list.substr(at, end - at);
    std::transform(item.begin(), item.end(), item.begin(),
                   [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
    if (item.size() > 2 && item.starts_with('[') && item.ends_with(']'))
      item = item.substr(1, item.size() - 2);
    proxies.exempt.push_back(std::move(item));
    at = list.find_first_not_of(kBetween, end);
  }
  return proxies;
}

}  // namespace hffs::hub

namespace hffs {

std::string without_user(std::string_view proxy) {
  return std::string(proxy.substr(proxy.rfind('@') == proxy.npos ? 0 : proxy.rfind('@') + 1));
}

}  // namespace hffs
