// SPDX-License-Identifier: Apache-2.0
#include "guard.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace hffs::hub {
namespace {

std::string text_of(const curl_sockaddr& address) {
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(&address.addr, address.addrlen, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0)
    return "an address that cannot be read";
  return text.data();
}

// No way to read it makes an address of it.
bool reads_as_name(std::string_view host) {
  while (host.ends_with('.')) host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);
  return std::ranges::all_of(host, [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '%'; }) &&
         !last.empty() && (last.front() < '0' || last.front() > '9');
}

}  // namespace

Guard::Guard(Zone from, const Url& url, bool proxied)
    : from_(from), url_(url), proxied_(proxied) {}

bool Guard::admits(Zone zone, const std::string& address) {
  if (may_lead(from_, zone)) return true;
  refused_ = fmt::format(
      "{} is {}, where a redirect from outside must not lead; if it may, list the host '{}' in "
      "internal_hosts",
      address, words_for(zone), url_.host);
  return false;
}

bool Guard::admits_host() {
  const auto zone = zone_of_host(url_.host);
  if (zone) return admits(*zone, url_.host);
  // What the proxy makes of it we do not hear: digits of another script, or a number in a notation of its own.
  return !proxied_ || from_ == Zone::loopback || reads_as_name(url_.host) ||
         admits(Zone::reserved, url_.host);
}

void Guard::watch(CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Guard::open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &Guard::before_request);
  curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
}

curl_socket_t Guard::open_socket(void* self, curlsocktype, curl_sockaddr* address) {
  Guard& guard = *static_cast<Guard*>(self);
  try {
    if (!guard.proxied_ && !guard.admits(zone_of(address->addr), text_of(*address)))
      return CURL_SOCKET_BAD;
  } catch (...) {
    return CURL_SOCKET_BAD;
  }
  guard.opened_ = true;
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int Guard::before_request(void* self, char* peer, char*, int, int) {
  Guard& guard = *static_cast<Guard*>(self);
  try {
    if (guard.proxied_ ||
        guard.admits(zone_of_host(peer == nullptr ? "" : peer).value_or(Zone::reserved),
                     peer == nullptr ? "" : peer))
      return CURL_PREREQFUNC_OK;
  } catch (...) {
  }
  guard.opened_ = false;
  return CURL_PREREQFUNC_ABORT;
}

Zone Guard::peer(CURL* easy) const {
  const char* address = nullptr;
  if (!proxied_ && easy != nullptr) curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
  const auto zone = zone_of_host(address != nullptr ? address : std::string_view(url_.host));
  return zone.value_or(Zone::global);
}

}  // namespace hffs::hub
