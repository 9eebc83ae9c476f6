// SPDX-License-Identifier: Apache-2.0
#include "service_manager.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "hffs/error.h"

namespace hffs::keeper {
namespace {

constexpr const char* kVariable = "NOTIFY_SOCKET";
// Of what systemd takes at all (4,096 bytes), what people still read.
constexpr std::size_t kLongestStatus = 1'000;

}  // namespace

std::string status_line(std::string_view text) {
  std::size_t length = std::min(text.size(), kLongestStatus);
  // Half a character makes all of it none, for systemd.
  while (length < text.size() && length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  std::string line(text.substr(0, length));
  std::ranges::replace_if(line, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return line;
}

ServiceManager::ServiceManager(bool speaks) {
  const char* given = std::getenv(kVariable);
  std::string address = given != nullptr ? given : "";
  ::unsetenv(kVariable);
  // A path, or the abstract name that stands behind '@'.
  if (!speaks || address.size() < 2 || (address[0] != '/' && address[0] != '@')) return;
  if (address.size() >= sizeof(sockaddr_un::sun_path)) return;
  if (address[0] == '@') address[0] = '\0';
  socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_) return;
  // A lost READY would end us; one who hears nobody must not hold us up.
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  address_ = std::move(address);
}

// systemd 253 and later, where the unit is of type notify-reload, wants the time at which it began.
void ServiceManager::reloading(std::string_view status) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1'000), status);
}

void ServiceManager::tell(std::string_view what, std::string_view status) {
  if (address_.empty()) return;
  const std::string message = fmt::format("{}{}STATUS={}", what, what.empty() ? "" : "\n", status_line(status));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  (void)::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&to), length);
}

}  // namespace hffs::keeper
