// SPDX-License-Identifier: Apache-2.0
//
// The half of the reader that is one process, and reads what it is told, in order.
#include "reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static char** read_lines(size_t* count) {
  char **lines = NULL, *line = NULL;
  size_t room = 0;
  *count = 0;
  for (ssize_t got; (got = getline(&line, &room, stdin)) > 0;) {
    if (line[got - 1] == '\n') line[got - 1] = 0;
    lines = realloc(lines, (*count + 1) * sizeof *lines);
    lines[(*count)++] = strdup(line);
  }
  return lines;
}

void run_ranges(void) {
  int64_t size;
  size_t count;
  char** lines = read_lines(&count);
  char* buffer = new_buffer();
  const double began = now();
  const int fd = open_file(&size);
  printf("{\"each\": [");
  for (size_t i = 0; i < count; ++i) {
    long long offset, length, piece = ask.piece;
    if (sscanf(lines[i], "%lld %lld %lld", &offset, &length, &piece) < 2 || piece > ask.piece)
      errno = EINVAL, fail("%s", lines[i]);
    const double from = now();
    for (int64_t at = offset; at < offset + length;) {
      const int64_t left = offset + length - at;
      const size_t got = get(fd, buffer, (size_t)(left < piece ? left : piece), at);
      if (got == 0) fail("%s ends at %lld", ask.path, (long long)at);
      at += (int64_t)got;
    }
    printf("%s%.6f", i ? ", " : "", now() - from);
  }
  printf("], \"seconds\": %.6f}\n", now() - began);
}

void run_files(void) {
  size_t count;
  char** paths = read_lines(&count);
  char* buffer = new_buffer();
  int64_t bytes = 0;
  const double began = now();
  for (long round = 0; round < ask.rounds; ++round) {
    for (size_t i = 0; i < count; ++i) {
      const int fd = open(paths[i], O_RDONLY);
      if (fd < 0) fail("%s", paths[i]);
      for (ssize_t got; (got = read(fd, buffer, (size_t)ask.piece)) != 0; bytes += got)
        if (got < 0) fail("%s", paths[i]);
      close(fd);
    }
  }
  printf("{\"seconds\": %.6f, \"files\": %zu, \"bytes\": %lld}\n", now() - began, count, (long long)bytes);
}

static int by_value(const void* a, const void* b) {
  return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b);
}

void run_stat(void) {
  size_t count;
  char** names = read_lines(&count);
  double* each = calloc(count + 1, sizeof *each);
  const int dir = open(ask.path, O_PATH | O_DIRECTORY);
  if (dir < 0) fail("%s", ask.path);
  for (size_t i = 0; i < count; ++i) {
    struct stat status;
    const double from = now();
    if (fstatat(dir, names[i], &status, AT_SYMLINK_NOFOLLOW) != 0) fail("%s", names[i]);
    each[i] = now() - from;
  }
  qsort(each, count, sizeof *each, by_value);
  printf("{\"count\": %zu, \"median\": %.9f, \"p99\": %.9f}\n", count, each[count / 2], each[count * 99 / 100]);
}

void run_list(void) {
  const double began = now();
  DIR* dir = opendir(ask.path);
  if (!dir) fail("%s", ask.path);
  long count = 0;
  errno = 0;
  while (readdir(dir)) ++count;
  if (errno != 0) fail("readdir of %s", ask.path);
  printf("{\"seconds\": %.6f, \"count\": %ld}\n", now() - began, count);
}

void run_settle(void) {
  int64_t size, at = 0, before = 0;
  const int fd = open_file(&size);
  char* buffer = new_buffer();
  const double began = now();
  double from = 0, end = 0;
  while (at < size && end < (double)ask.until) {
    at += (int64_t)get(fd, buffer, (size_t)ask.piece, at);
    end = now() - began;
    if (end < (double)ask.from) from = end, before = at;
  }
  if (at == before) from = 0, before = 0;  // done before it began to count: all of it counts
  printf("{\"seconds\": %.6f, \"bytes\": %lld, \"all\": %lld}\n", end - from, (long long)(at - before), (long long)at);
}
