// SPDX-License-Identifier: Apache-2.0
//
// The worker of the target `keeper`: it says what the descriptor in its first argument holds, message by message, and ends
// as that says. The next one goes on behind it. No sanitizer: it is started thousands of times.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

int main(int count, char** words) {
  constexpr int kSocket = 3;
  const int script = count > 1 ? std::atoi(words[1]) : -1;
  static char bytes[65'536];
  struct {
    std::uint8_t what, code;
    std::uint16_t size;
  } step;
  while (::read(script, &step, sizeof(step)) == static_cast<ssize_t>(sizeof(step))) {
    if (step.size != 0 && ::read(script, bytes, step.size) != step.size) break;
    iovec part{bytes, step.size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    switch (step.what) {
      case 'd': {  // with a descriptor
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(rights), &script, sizeof(int));
        [[fallthrough]];
      }
      case 's': ::sendmsg(kSocket, &message, MSG_NOSIGNAL); break;
      case 'h':  // hears what was said to it
        while (::recv(kSocket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
        }
        break;
      case 'c': ::close(kSocket); break;
      case 'k': ::kill(::getpid(), SIGKILL); break;
      default: ::_exit(step.code);
    }
  }
  ::_exit(0);
}
