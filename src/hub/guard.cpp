// SPDX-License-Identifier: Apache-2.0
#include "guard.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

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
  return !zone || admits(*zone, url_.host);
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
