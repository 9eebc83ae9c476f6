// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "control_address.h"
#include "hffs/daemon.h"
#include "hffs/json_text.h"

namespace hffs {
namespace {

using Time = std::chrono::steady_clock::time_point;

// Far above what any answer needs; who sends more is not a daemon.
constexpr std::size_t kMostAnswerBytes = std::size_t{1} << 20;

// Waits for input. False: none came until `end`.
Result<bool> wait_readable(int fd, Time end) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd watched{fd, POLLIN, 0};
    const int ready =
        ::poll(&watched, 1,
               static_cast<int>(std::min<std::int64_t>(left.count(), std::int64_t{3'600'000})));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return fail(system_error(errno, "waiting for the daemon"));
  }
}

ssize_t send_line(int socket, const std::string& line, int descriptor) {
  iovec part{const_cast<char*>(line.data()), line.size()};
  msghdr whole{};
  whole.msg_iov = &part;
  whole.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    whole.msg_control = control.data();
    whole.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&whole);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  }
  return ::sendmsg(socket, &whole, MSG_NOSIGNAL);
}

Error to_error(const nlohmann::json& said) {
  Error error{Code::bug, said.value("message", "the daemon gave no reason"), {}};
  error.code = code_named(said.value("code", "")).value_or(Code::bug);
  return error;
}

}  // namespace

std::optional<Code> code_named(std::string_view name) {
  for (int i = 0; i < kCodeCount; ++i)
    if (info(static_cast<Code>(i)).name == name) return static_cast<Code>(i);
  return std::nullopt;
}

Result<ControlClient> ControlClient::connect(const std::string& socket) {
  auto address = ControlAddress::of(socket);
  if (!address) {
    if (address.error().code != Code::not_found) return fail(address);
    return fail(Code::unreachable, "no daemon uses {}", socket);
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(system_error(errno, "making a socket"));
  if (::connect(fd.get(), address->get(), address->size()) == 0)
    return ControlClient(std::move(fd));
  if (errno == ENOENT || errno == ECONNREFUSED)
    return fail(Code::unreachable, "no daemon listens on {}", socket);
  return fail(system_error(errno, fmt::format("speaking to the daemon on {}", socket)));
}

Result<std::string> ControlClient::ask(std::string_view request, std::chrono::milliseconds limit,
                                       UniqueFd given) {
  const std::string line = std::string(request) + "\n";
  // A request is far smaller than a socket's buffer.
  if (send_line(socket_.get(), line, given.get()) != static_cast<ssize_t>(line.size()))
    return fail(Code::unreachable, "the daemon does not listen any more");
  const Time end = std::chrono::steady_clock::now() + limit;
  std::string answer;
  while (!answer.ends_with('\n')) {
    auto ready = wait_readable(socket_.get(), end);
    if (!ready) return fail(ready);
    if (!*ready) return fail(Code::timed_out, "the daemon did not answer in time");
    std::array<char, 4'096> piece;
    const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(Code::unreachable, "the daemon ended while it was asked");
    answer.append(piece.data(), static_cast<std::size_t>(count));
    if (answer.size() > kMostAnswerBytes) return fail(Code::corrupt, "the answer has no end");
  }
  answer.pop_back();
  const auto parsed = parse_json(answer);
  if (!parsed.is_object()) return fail(Code::corrupt, "the answer is not a JSON object");
  if (const auto error = parsed.find("error"); error != parsed.end() && error->is_object())
    return fail(to_error(*error));
  return answer;
}

Result<void> ControlClient::wait_for_end(std::chrono::milliseconds limit) {
  const Time end = std::chrono::steady_clock::now() + limit;
  while (true) {
    auto ready = wait_readable(socket_.get(), end);
    if (!ready) return fail(ready);
    if (!*ready) return fail(Code::timed_out, "the daemon has not ended yet");
    std::array<char, 4'096> piece;
    const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
  }
}

}  // namespace hffs
