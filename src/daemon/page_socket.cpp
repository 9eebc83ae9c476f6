// SPDX-License-Identifier: Apache-2.0
#include "page_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "config_file.h"
#include "control_address.h"
#include "hffs/daemon.h"

namespace hffs {
namespace {

constexpr std::string_view kUnix = "unix:";
// A worker whose keeper was killed has the socket for a moment still.
constexpr std::chrono::seconds kOfTheDead{2};
constexpr int kWaiting = 64;  // connections that nobody has taken yet

union Address {
  sockaddr any;
  sockaddr_in four;
  sockaddr_in6 six;
  sockaddr_storage room;
};

// Of 127.0.0.0/8 and ::1 alone.
std::optional<Address> parse_loopback(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || port == 0) return std::nullopt;
  const std::string host(text.substr(0, colon));
  Address address{};
  if (host == "[::1]") {
    address.six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
    return address;
  }
  address.four = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (::inet_pton(AF_INET, host.c_str(), &address.four.sin_addr) != 1) return std::nullopt;
  if ((ntohl(address.four.sin_addr.s_addr) >> 24) != 127) return std::nullopt;
  return address;
}

socklen_t size_of(const Address& address) {
  return address.any.sa_family == AF_INET6 ? sizeof(address.six) : sizeof(address.four);
}

// What a keeper that was killed has left is replaced; nothing else is.
Result<void> make_room(const std::string& path, const ControlAddress& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode)) return fail(Code::exists, "{} is there, and is no socket; name another place", path);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail(system_error(errno, "making a socket"));
  if (::connect(probe.get(), address.get(), address.size()) == 0 || errno != ECONNREFUSED)
    return fail(Code::busy, "somebody listens at {} already; name another place", path);
  if (::unlink(path.c_str()) != 0) return fail(system_error(errno, fmt::format("removing {}", path)));
  return {};
}

Result<UniqueFd> listen_at_port(const std::string& address) {
  const auto loopback = parse_loopback(address);
  if (!loopback) return fail(Code::bug, "'{}' is no address of a status page", address);
  UniqueFd socket(::socket(loopback->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
      ::bind(socket.get(), &loopback->any, size_of(*loopback)) != 0 || ::listen(socket.get(), kWaiting) != 0) {
    if (errno == EADDRINUSE) return fail(Code::busy, "somebody listens at {} already; name another port", address);
    return fail(system_error(errno, fmt::format("listening at {}", address)));
  }
  return socket;
}

Result<UniqueFd> listen_at_path(const std::string& path) {
  const auto place = ControlAddress::of(path);
  if (!place) return fail(Error(place.error()));
  if (auto room = make_room(path, *place); !room) return fail(room);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Never there with more rights, not for an instant. The keeper has one thread.
  const mode_t before = ::umask(0177);
  const bool bound = socket && ::bind(socket.get(), place->get(), place->size()) == 0;
  const int reason = errno;
  ::umask(before);
  if (!bound) return fail(system_error(reason, fmt::format("listening at {}", path)));
  if (::listen(socket.get(), kWaiting) != 0) return fail(system_error(errno, fmt::format("listening at {}", path)));
  return socket;
}

// As /proc/net/tcp writes it: 32 bits at a time, in this machine's order.
std::string end_text(const Address& address) {
  if (address.any.sa_family == AF_INET)
    return fmt::format("{:08X}:{:04X}", address.four.sin_addr.s_addr, ntohs(address.four.sin_port));
  std::array<std::uint32_t, 4> words{};
  std::memcpy(words.data(), &address.six.sin6_addr, sizeof(words));
  return fmt::format("{:08X}{:08X}{:08X}{:08X}:{:04X}", words[0], words[1], words[2], words[3],
                     ntohs(address.six.sin6_port));
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = line.find_first_not_of(' '); at < line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = line.find_first_not_of(' ', end);
  }
  return words;
}

}  // namespace

Result<std::string> parse_status_page(std::string_view text) {
  if (text == "off") return std::string();
  if (text.starts_with(kUnix) && text.substr(kUnix.size()).starts_with('/')) {
    const auto path = std::filesystem::path(text.substr(kUnix.size())).lexically_normal();
    const bool clean = std::ranges::none_of(text, [](unsigned char c) { return c < ' ' || c == 0x7f; });
    if (clean && path.has_filename()) return std::string(kUnix) + path.string();
  }
  if (parse_loopback(text)) return std::string(text);
  return fail(Code::invalid,
              "must be an address of this machine alone, with a port (\"127.0.0.1:9123\", \"[::1]:9123\"), or "
              "\"unix:/PATH\", or \"off\"; the page says who reads what, so there is no other address for it");
}

Result<PageSocket> PageSocket::listen(const std::string& address) {
  const std::string path = address.starts_with(kUnix) ? address.substr(kUnix.size()) : "";
  const auto patient_until = std::chrono::steady_clock::now() + kOfTheDead;
  while (true) {
    auto socket = path.empty() ? listen_at_port(address) : listen_at_path(path);
    if (socket) return PageSocket(std::move(*socket), path);
    if (socket.error().code != Code::busy || std::chrono::steady_clock::now() > patient_until) return fail(socket);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

PageSocket::~PageSocket() {
  if (socket_ && !file_.empty()) ::unlink(file_.c_str());
}

std::optional<uid_t> owner_in(std::string_view table, std::string_view own_end, std::string_view far_end) {
  constexpr std::size_t kOwn = 1, kFar = 2, kUid = 7, kInode = 9;
  for (std::size_t at = 0; at < table.size();) {
    const std::size_t end = std::min(table.find('\n', at), table.size());
    const auto words = words_of(table.substr(at, end - at));
    at = end + 1;
    // Without an inode nobody has it any more, and its user is given as 0.
    if (words.size() <= kInode || words[kOwn] != own_end || words[kFar] != far_end || words[kInode] == "0") continue;
    uid_t user = 0;
    const auto read = std::from_chars(words[kUid].data(), words[kUid].data() + words[kUid].size(), user);
    if (read.ec == std::errc()) return user;
  }
  return std::nullopt;
}

Result<Peer> who_connected(int socket, uid_t owner) {
  Address here{}, there{};
  socklen_t size = sizeof(here);
  if (::getsockname(socket, &here.any, &size) != 0) return fail(system_error(errno, "looking at a connection"));
  if (here.any.sa_family == AF_UNIX) {
    ucred credentials{};
    size = sizeof(credentials);
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
      return fail(system_error(errno, "looking at a connection"));
    return Peer{credentials.pid, credentials.uid, credentials.gid, credentials.uid == 0 || credentials.uid == owner};
  }
  size = sizeof(there);
  if (::getpeername(socket, &there.any, &size) != 0) return fail(system_error(errno, "looking at a connection"));
  const auto look = [&](const char* file, const std::string& before) {
    std::ifstream table(file);
    const std::string text(std::istreambuf_iterator<char>(table), {});
    // Its own end of it is our far one.
    return owner_in(text, before + end_text(there), before + end_text(here));
  };
  auto user = here.any.sa_family == AF_INET ? look("/proc/net/tcp", "") : look("/proc/net/tcp6", "");
  // Who speaks IPv4 by an IPv6 socket stands in that one's table.
  if (!user && here.any.sa_family == AF_INET) user = look("/proc/net/tcp6", "0000000000000000FFFF0000");
  if (!user) return fail(Code::not_found, "it cannot be told whose connection this is");
  // Which process it is, is not told: the user's, with no group that anybody would ask for.
  return Peer{0, *user, *user, *user == 0 || *user == owner};
}

}  // namespace hffs
