// SPDX-License-Identifier: Apache-2.0
//
// What the two halves of the reader share: see reader.c.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// What the command line says.
struct Ask {
  const char* path;
  long piece, procs, each, direct, forget, stripe, count, seed, rounds, from, until;
};
extern struct Ask ask;

_Noreturn void fail(const char* format, ...);
double now(void);  // seconds
int open_file(int64_t* size);
char* new_buffer(void);  // ask.piece bytes
size_t get(int fd, char* into, size_t wanted, int64_t at);

void run_ranges(void);
void run_files(void);
void run_stat(void);
void run_list(void);
void run_settle(void);
