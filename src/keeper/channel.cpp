// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace hffs::keeper {
namespace {

constexpr std::size_t kMostText = 2'048;
constexpr std::size_t kMostDescriptors = 1;

struct Head {
  std::uint32_t say;
  std::int32_t code;
  std::int32_t number;
};

}  // namespace

Result<std::pair<Channel, UniqueFd>> Channel::pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(system_error(errno, "making a pair of sockets"));
  // A worker that hears nothing must not hold up who speaks to it.
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return std::pair(Channel(UniqueFd(ends[0])), UniqueFd(ends[1]));
}

Result<void> Channel::send(const Message& message, const std::vector<int>& descriptors) const {
  const std::string_view text = std::string_view(message.text).substr(0, kMostText);
  Head head{static_cast<std::uint32_t>(message.say), message.code, message.number};
  iovec parts[] = {{&head, sizeof(head)}, {const_cast<char*>(text.data()), text.size()}};
  msghdr whole{};
  whole.msg_iov = parts;
  whole.msg_iovlen = std::size(parts);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  if (!descriptors.empty()) {
    const std::size_t bytes = descriptors.size() * sizeof(int);
    whole.msg_control = control.data();
    whole.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* rights = CMSG_FIRSTHDR(&whole);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), bytes);
  }
  while (::sendmsg(socket_.get(), &whole, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return fail(system_error(errno, "speaking to the other process"));
  return {};
}

Result<Message> Channel::receive(std::vector<UniqueFd>* descriptors) const {
  Head head{};
  std::array<char, kMostText> text;
  iovec parts[] = {{&head, sizeof(head)}, {text.data(), text.size()}};
  msghdr whole{};
  whole.msg_iov = parts;
  whole.msg_iovlen = std::size(parts);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  // Without room for them the kernel closes what was sent.
  if (descriptors != nullptr) {
    whole.msg_control = control.data();
    whole.msg_controllen = control.size();
  }
  ssize_t count = 0;
  while ((count = ::recvmsg(socket_.get(), &whole, MSG_CMSG_CLOEXEC)) < 0)
    if (errno != EINTR) return fail(system_error(errno, "hearing the other process"));
  if (count == 0) return fail(Code::not_found, "the other process has gone");
  for (cmsghdr* rights = CMSG_FIRSTHDR(&whole); rights != nullptr; rights = CMSG_NXTHDR(&whole, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> fds((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(fds.data(), CMSG_DATA(rights), fds.size() * sizeof(int));
    for (const int fd : fds) descriptors->emplace_back(fd);
  }
  if (static_cast<std::size_t>(count) < sizeof(head) || head.say > static_cast<std::uint32_t>(Say::answer))
    return fail(Code::corrupt, "a message that makes no sense");
  return Message{static_cast<Say>(head.say), head.code, head.number,
                 std::string(text.data(), static_cast<std::size_t>(count) - sizeof(head))};
}

}  // namespace hffs::keeper
