// SPDX-License-Identifier: Apache-2.0
//
// For LD_PRELOAD: a worker that was taken over, with the rights that it has while it serves. At SIGUSR2 it does what the file that
// HFFS_TAKEN_OVER names says, a line each (below the store: it can read nothing else), and writes the line and the errno to
// the log. A letter, and what it takes: r, w: opens a path to read, to write. d: makes it. u: removes it. k: kills a process. s: setsid.
// g: leaves its group. m: looks at a path. f: leaves processes behind, which fork on and on, and hold all of its descriptors.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preloaded.h"

enum { CHAINS = 4, PAUSE = 500, LONGEST = 60 };  // microseconds, seconds
static const char* orders;

// The next one lives when this one has gone, and has lost its parent.
static void leave_behind(void) {
  for (int chain = 0; chain < CHAINS; ++chain) {
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != 0) continue;
    syscall(SYS_setsid);
    syscall(SYS_setpgid, 0, 0);
    const time_t end = time(0) + LONGEST;
    while (time(0) < end) {
      if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) > 0) syscall(SYS_exit_group, 0);
      usleep(PAUSE);
    }
    syscall(SYS_exit_group, 0);
  }
}

static int follow(const char* order) {
  const char* what = order + 2;
  long done = 0;
  errno = 0;
  switch (order[0]) {
    case 'r': done = open(what, O_RDONLY | O_NONBLOCK | O_CLOEXEC); break;
    case 'w': done = open(what, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600); break;
    case 'd': done = mkdir(what, 0700); break;
    case 'u': done = unlink(what); break;
    case 'k': done = kill(atoi(what), SIGKILL); break;
    case 's': done = syscall(SYS_setsid); break;
    case 'm': done = access(what, F_OK); break;
    case 'g': done = syscall(SYS_setpgid, 0, 0); break;
    case 'f': leave_behind(); break;
  }
  return done < 0 ? errno : 0;
}

static void taken_over(int number) {
  (void)number;
  static char text[65536], said[8192];
  const int fd = open(orders, O_RDONLY | O_CLOEXEC);
  const long size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[size < 0 ? 0 : size] = 0;
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    const int length = snprintf(said, sizeof said, "taken over: %s: %d\n", line, follow(line));
    if (write(2, said, (size_t)length) < 0) return;
  }
}

__attribute__((constructor)) static void begin(void) {
  orders = getenv("HFFS_TAKEN_OVER");
  if (orders && is_worker()) signal(SIGUSR2, taken_over);
}
