// SPDX-License-Identifier: Apache-2.0
#include "lending.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace hffs::lending {

Result<void> send(int socket, std::string_view bytes, int descriptor, int flags) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
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
  while (::sendmsg(socket, &whole, MSG_NOSIGNAL | flags) < 0) {
    if (errno == EPIPE || errno == ECONNRESET) return fail(Code::cancelled, "the other end has gone");
    if (errno != EINTR) return fail(system_error(errno, "speaking of a folder that is lent"));
  }
  return {};
}

Result<Heard> receive(int socket) {
  Heard heard{.bytes = std::string(kMostBytes, '\0'), .descriptor = {}};
  iovec part{heard.bytes.data(), heard.bytes.size()};
  msghdr whole{};
  whole.msg_iov = &part;
  whole.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  whole.msg_control = control.data();
  whole.msg_controllen = CMSG_LEN(sizeof(int));  // the space has room for two; the kernel closes what more is sent
  ssize_t count = 0;
  while ((count = ::recvmsg(socket, &whole, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) break;
    if (errno != EINTR) return fail(system_error(errno, "hearing of a folder that is lent"));
  }
  for (cmsghdr* rights = CMSG_FIRSTHDR(&whole); count >= 0 && rights != nullptr; rights = CMSG_NXTHDR(&whole, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(rights), sizeof(int));
    heard.descriptor = UniqueFd(descriptor);
  }
  if (count <= 0) return fail(Code::cancelled, "the other end has gone");
  heard.bytes.resize(static_cast<std::size_t>(count));
  return heard;
}

}  // namespace hffs::lending
