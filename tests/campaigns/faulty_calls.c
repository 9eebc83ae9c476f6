// SPDX-License-Identifier: Apache-2.0
//
// For LD_PRELOAD: some system calls of a worker fail by lot. How many of 1,000 stands in the file that HFFS_FAULTY names, as a
// 32-bit number at 0; behind it are counted the faults of each kind. Memory is left alone, and so is all that is not a
// disk's or the internet's: sockets of this machine's processes, /dev, /proc.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../mount/preloaded.h"

enum { OPEN, PREAD, PWRITE, SYNC, CONNECT, RECV, KINDS };
struct control {
  _Atomic uint32_t share, count[KINDS];
};
static struct control* control;
static _Atomic uint64_t state = 88172645463325252ull;
static unsigned char internet[65536];

__attribute__((constructor)) static void begin(void) {
  if (!is_worker()) return;
  state ^= (uint64_t)getpid() << 32;
  control = shared_memory(getenv("HFFS_FAULTY"), sizeof *control);
}

static uint64_t lot(void) {
  uint64_t old = atomic_load(&state), next;
  do {
    next = old;
    next ^= next << 13;
    next ^= next >> 7;
    next ^= next << 17;
  } while (!atomic_compare_exchange_weak(&state, &old, next));
  return next;
}

static int fails(int kind, const int* errors, unsigned count) {
  if (!control) return 0;
  uint32_t share = atomic_load(&control->share);
  if (share == 0 || lot() % 1000 >= share) return 0;
  atomic_fetch_add(&control->count[kind], 1);
  errno = errors[lot() % count];
  return 1;
}

#define FAILS(kind, ...) fails(kind, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static int spared(const char* path) {
  return strncmp(path, "/dev", 4) == 0 || strncmp(path, "/proc", 5) == 0 || strncmp(path, "/sys", 4) == 0;
}

#define OPENS(name)                                                                    \
  int name(const char* path, int flags, ...) {                                         \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, unsigned) : 0; \
    va_end(rest);                                                                      \
    if (!spared(path) && (flags & O_CREAT ? FAILS(OPEN, EIO, EMFILE, EINTR, ENOSPC)    \
                                          : FAILS(OPEN, EIO, EMFILE, EINTR)))          \
      return -1;                                                                       \
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);                      \
  }
OPENS(open)
OPENS(open64)

#define PREADS(name)                                             \
  ssize_t name(int fd, void* into, size_t size, off_t at) {      \
    if (FAILS(PREAD, EIO, EINTR)) return -1;                     \
    return syscall(SYS_pread64, fd, into, size, at);             \
  }
PREADS(pread)
PREADS(pread64)

#define PWRITES(name)                                             \
  ssize_t name(int fd, const void* from, size_t size, off_t at) { \
    if (FAILS(PWRITE, EIO, ENOSPC, EINTR)) return -1;             \
    return syscall(SYS_pwrite64, fd, from, size, at);             \
  }
PWRITES(pwrite)
PWRITES(pwrite64)

int fdatasync(int fd) {
  if (FAILS(SYNC, EIO, ENOSPC)) return -1;
  return (int)syscall(SYS_fdatasync, fd);
}

int connect(int fd, const struct sockaddr* to, socklen_t size) {
  const int far = to->sa_family == AF_INET || to->sa_family == AF_INET6;
  if (fd >= 0 && fd < (int)sizeof internet) internet[fd] = (unsigned char)far;
  if (far && FAILS(CONNECT, ECONNREFUSED, EMFILE, ENETUNREACH, ETIMEDOUT)) return -1;
  return (int)syscall(SYS_connect, fd, to, size);
}

ssize_t recv(int fd, void* into, size_t size, int flags) {
  if (fd >= 0 && fd < (int)sizeof internet && internet[fd] && FAILS(RECV, ECONNRESET, EINTR, EIO)) return -1;
  return syscall(SYS_recvfrom, fd, into, size, flags, 0, 0);
}
