// SPDX-License-Identifier: Apache-2.0
//
// For LD_PRELOAD: a worker stops within a request of one kind, before the nth of its steps, to be killed there (its sandbox does not
// let it do that by itself). Steps are what writes, moves and removes files, what commits (and behind that), and the answer. The
// file that HFFS_UNANSWERED names holds, as 32-bit numbers: the kind (FUSE's opcode; 0: none), n, the steps that have been seen, and
// whether it has stopped.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "preloaded.h"

struct request { uint32_t size, opcode; uint64_t unique; };  // the head of fuse_in_header (linux/fuse.h)
struct answer { uint32_t size; int32_t error; uint64_t unique; };  // fuse_out_header
static struct {
  _Atomic uint32_t opcode, nth, seen, stopped;
}* control;
static _Atomic uint64_t unique;  // of the request that is watched; 0: none
static int (*commit)(void*);

__attribute__((constructor)) static void begin(void) {
  commit = (int (*)(void*))dlsym(RTLD_NEXT, "mdb_txn_commit");
  if (is_worker()) control = shared_memory(getenv("HFFS_UNANSWERED"), sizeof *control);
}

static void step(void) {
  if (!control || atomic_load(&unique) == 0) return;
  if (atomic_fetch_add(&control->seen, 1) + 1 != atomic_load(&control->nth)) return;
  atomic_store(&control->opcode, 0);
  atomic_store(&control->stopped, 1);
  for (;;) syscall(SYS_sched_yield);
}

ssize_t read(int fd, void* into, size_t size) {
  const ssize_t count = syscall(SYS_read, fd, into, size);
  const struct request* head = into;
  if (control && count >= 40 && head->size == (uint32_t)count && head->opcode == atomic_load(&control->opcode))
    atomic_store(&unique, head->unique);
  return count;
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  const struct answer* head = parts[0].iov_base;
  if (parts[0].iov_len < sizeof *head || head->unique != atomic_load(&unique)) return syscall(SYS_writev, fd, parts, count);
  step();
  atomic_store(&unique, 0);
  return syscall(SYS_writev, fd, parts, count);
}

int mdb_txn_commit(void* txn) {
  step();
  const int status = commit(txn);
  step();
  return status;
}

#define STEP(type, name, number, parameters, ...) \
  type name parameters {                          \
    step();                                       \
    return (type)syscall(number, __VA_ARGS__);    \
  }
STEP(ssize_t, pwrite, SYS_pwrite64, (int fd, const void* from, size_t size, off_t at), fd, from, size, at)
STEP(ssize_t, pwrite64, SYS_pwrite64, (int fd, const void* from, size_t size, off_t at), fd, from, size, at)
STEP(int, ftruncate, SYS_ftruncate, (int fd, off_t size), fd, size)
STEP(int, ftruncate64, SYS_ftruncate, (int fd, off_t size), fd, size)
STEP(int, rename, SYS_renameat, (const char* from, const char* to), AT_FDCWD, from, AT_FDCWD, to)
STEP(int, renameat2, SYS_renameat2, (int a, const char* from, int b, const char* to, unsigned flags), a, from, b, to, flags)
STEP(int, unlink, SYS_unlinkat, (const char* path), AT_FDCWD, path, 0)
STEP(int, unlinkat, SYS_unlinkat, (int at, const char* path, int flags), at, path, flags)
STEP(int, fdatasync, SYS_fdatasync, (int fd), fd)
STEP(int, fsync, SYS_fsync, (int fd), fd)
