// SPDX-License-Identifier: Apache-2.0
//
// Everything that scripts/bench measures is read by this program, on the mount and beside it alike.
//
//   reader seq PATH [piece=1048576] [procs=1] [each=0] [direct=0] [forget=0]  each process reads the file, in order;
//          each: only so many bytes, process i from the i-th part of the file on; forget: its pages are dropped first
//   reader map PATH [procs=1] [stripe=0] [forget=0]     touches every page; stripe: each process every procs-th stripe
//   reader random PATH [piece=4096] [count=1000] [procs=1] [seed=1]     aligned preads anywhere in the file
//   reader touch PATH [procs=64] [count=100] [seed=1]   threads of one process that touch pages anywhere in a map
//   reader ranges PATH [piece=1048576]                  standard input: a line "OFFSET LENGTH [PIECE]" for each range
//   reader files [piece=131072] [rounds=1]              standard input: a path each line: open, read all, close
//   reader stat DIR                                     standard input: a name each line
//   reader list DIR                                     readdir to the end
//   reader settle PATH [from=0] [until=10]              reads in order; what came between the two seconds
//
// Answers one line of JSON; times are seconds. Exit 1 with a message when anything is not as it should be.
#include "reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { kMostProcs = 256, kPage = 4096 };

struct Ask ask = {.procs = 1, .count = 1000, .seed = 1, .rounds = 1, .until = 10};

// What processes share: when each was done, and how much it got.
static struct {
  pthread_barrier_t start;
  double begin[kMostProcs], first[kMostProcs], end[kMostProcs];
  int64_t bytes[kMostProcs];
}* shared;

void fail(const char* format, ...) {
  va_list words;
  va_start(words, format);
  fprintf(stderr, "reader: ");
  vfprintf(stderr, format, words);
  fprintf(stderr, ": %s\n", strerror(errno));
  exit(1);
}

double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t next(uint64_t* state) {  // xorshift
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

int open_file(int64_t* size) {
  const int fd = open(ask.path, O_RDONLY | (ask.direct ? O_DIRECT : 0));
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail("%s", ask.path);
  *size = status.st_size;
  if (ask.forget) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  return fd;
}

char* new_buffer(void) {
  void* memory = NULL;
  if (posix_memalign(&memory, kPage, (size_t)ask.piece) != 0) fail("memory");
  memset(memory, 1, (size_t)ask.piece);
  return memory;
}

size_t get(int fd, char* into, size_t wanted, int64_t at) {
  const ssize_t got = pread(fd, into, wanted, at);
  if (got < 0) fail("pread at %lld", (long long)at);
  return (size_t)got;
}

static const volatile char* map_file(int64_t* size) {
  const int fd = open_file(size);
  void* memory = mmap(NULL, (size_t)*size, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap of %s", ask.path);
  return memory;
}

// Each of these is one process's (or thread's) work; it notes its first byte and what it read.

static void work_seq(int index) {
  int64_t size;
  const int fd = open_file(&size);
  char* buffer = new_buffer();
  int64_t at = ask.each ? size / ask.procs * index / ask.piece * ask.piece : 0;
  const int64_t begin = at, end = ask.each && at + ask.each < size ? at + ask.each : size;
  while (at < end) {
    const size_t got = get(fd, buffer, (size_t)ask.piece, at);
    if (got == 0) fail("%s ends at %lld of %lld", ask.path, (long long)at, (long long)end);
    if (at == begin) shared->first[index] = now();
    at += (int64_t)got;
  }
  shared->bytes[index] = at - begin;
}

static void work_map(int index) {
  int64_t size;
  const volatile char* memory = map_file(&size);
  const int64_t stripe = ask.stripe ? ask.stripe : size;
  const int64_t step = ask.stripe ? stripe * ask.procs : size;
  for (int64_t from = ask.stripe ? stripe * index : 0; from < size; from += step) {
    const int64_t end = from + stripe < size ? from + stripe : size;
    for (int64_t at = from; at < end; at += kPage) {
      (void)memory[at];
      if (shared->first[index] == 0) shared->first[index] = now();
    }
    shared->bytes[index] += end - from;
  }
}

static void work_random(int index) {
  int64_t size;
  const int fd = open_file(&size);
  char* buffer = new_buffer();
  uint64_t state = (uint64_t)ask.seed * 0x9E3779B97F4A7C15u + (uint64_t)index + 1;
  for (long i = 0; i < ask.count; ++i) {
    const int64_t at = (int64_t)(next(&state) % (uint64_t)(size / ask.piece)) * ask.piece;
    shared->bytes[index] += (int64_t)get(fd, buffer, (size_t)ask.piece, at);
  }
}

static const volatile char* touched;
static int64_t touched_size;

static void* touch(void* argument) {
  const long index = (long)argument;
  uint64_t state = (uint64_t)ask.seed * 0x9E3779B97F4A7C15u + (uint64_t)index + 1;
  for (long i = 0; i < ask.count; ++i)
    (void)touched[next(&state) % (uint64_t)(touched_size / kPage) * kPage];
  shared->bytes[index] = ask.count * kPage;
  return NULL;
}

static void report(long workers) {
  double began = shared->begin[0], first = 0, end = 0;
  int64_t bytes = 0;
  for (long i = 0; i < workers; ++i) {
    if (shared->begin[i] < began) began = shared->begin[i];
    if (i == 0 || shared->first[i] < first) first = shared->first[i];
    if (shared->end[i] > end) end = shared->end[i];
    bytes += shared->bytes[i];
  }
  printf("{\"seconds\": %.6f, \"first\": %.6f, \"bytes\": %lld}\n", end - began,
         first > began ? first - began : 0, (long long)bytes);
}

static void run_processes(void (*work)(int)) {
  pthread_barrierattr_t between;
  pthread_barrierattr_init(&between);
  pthread_barrierattr_setpshared(&between, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&shared->start, &between, (unsigned)ask.procs + 1);
  for (int i = 0; i < ask.procs; ++i) {
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child > 0) continue;
    pthread_barrier_wait(&shared->start);
    shared->begin[i] = now();
    work(i);
    shared->end[i] = now();
    _exit(0);
  }
  pthread_barrier_wait(&shared->start);
  int status, bad = 0;
  while (wait(&status) > 0) bad |= status;
  if (bad) exit(1);
  report(ask.procs);
}

static void run_touch(void) {
  pthread_t threads[kMostProcs];
  touched = map_file(&touched_size);
  for (long i = 0; i < ask.procs; ++i) shared->begin[i] = now();
  for (long i = 0; i < ask.procs; ++i) pthread_create(&threads[i], NULL, touch, (void*)i);
  for (long i = 0; i < ask.procs; ++i) pthread_join(threads[i], NULL);
  shared->end[0] = now();
  report(ask.procs);
}

static void take_words(int count, char** words) {
  static const struct {
    const char* name;
    long* into;
  } known[] = {{"piece", &ask.piece}, {"procs", &ask.procs},   {"each", &ask.each},   {"direct", &ask.direct},
               {"forget", &ask.forget}, {"stripe", &ask.stripe}, {"count", &ask.count}, {"seed", &ask.seed},
               {"rounds", &ask.rounds}, {"from", &ask.from},     {"until", &ask.until}};
  for (int i = 0; i < count; ++i) {
    const char* equals = strchr(words[i], '=');
    size_t row = 0;
    while (equals && row < sizeof known / sizeof *known &&
           (strlen(known[row].name) != (size_t)(equals - words[i]) ||
            strncmp(words[i], known[row].name, (size_t)(equals - words[i])) != 0))
      ++row;
    if (!equals || row == sizeof known / sizeof *known) errno = EINVAL, fail("%s", words[i]);
    *known[row].into = strtol(equals + 1, NULL, 10);
  }
  if (ask.procs < 1 || ask.procs > kMostProcs) errno = EINVAL, fail("procs");
}

int main(int count, char** words) {
  const char* mode = count > 1 ? words[1] : "";
  const int has_path = strcmp(mode, "files") != 0;
  if (count < 2 + has_path) errno = EINVAL, fail("MODE PATH NAME=VALUE...");
  if (has_path) ask.path = words[2];
  ask.piece = strcmp(mode, "random") == 0 ? 4096 : strcmp(mode, "files") == 0 ? 128 << 10 : 1 << 20;
  take_words(count - 2 - has_path, words + 2 + has_path);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) fail("memory");
  if (strcmp(mode, "seq") == 0) run_processes(work_seq);
  else if (strcmp(mode, "map") == 0) run_processes(work_map);
  else if (strcmp(mode, "random") == 0) run_processes(work_random);
  else if (strcmp(mode, "touch") == 0) run_touch();
  else if (strcmp(mode, "ranges") == 0) run_ranges();
  else if (strcmp(mode, "files") == 0) run_files();
  else if (strcmp(mode, "stat") == 0) run_stat();
  else if (strcmp(mode, "list") == 0) run_list();
  else if (strcmp(mode, "settle") == 0) run_settle();
  else errno = EINVAL, fail("%s", mode);
  return 0;
}
