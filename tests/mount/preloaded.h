// SPDX-License-Identifier: Apache-2.0
//
// For libraries that LD_PRELOAD brings into each process of a mount, and that act in its worker alone.
#pragma once
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// By bare system calls: what the library has in their place is not for itself.
static int is_worker(void) {
  char words[4096] = {0};
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  const long count = fd >= 0 ? syscall(SYS_read, fd, words, sizeof words - 1) : 0;
  if (fd >= 0) close(fd);
  for (long i = 0; i < count; ++i)
    if (!words[i]) words[i] = ' ';
  return strstr(words, "--worker-of") != 0;
}

// Memory that is shared with the test by a file, or 0.
static __attribute__((unused)) void* shared_memory(const char* path, size_t size) {
  const int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return 0;
  void* memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? 0 : memory;
}
