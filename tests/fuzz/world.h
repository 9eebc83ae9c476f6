// SPDX-License-Identifier: Apache-2.0
//
// The parts of a daemon over a store in memory, and a Hub that answers at once: what the targets drive that speak as
// the kernel and as `hffs` do. The test suite's own fixture, without its tests. Threads: as it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fs_fixture.h"
#include "fuzz.h"
#include "temporary.h"

namespace hffs::fuzz {

// On a disk in memory where there is one: the store syncs.
inline void use_memory_disk() {
  if (std::filesystem::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
}

// Who is silent for so long does not answer any more: the machine may have other work.
constexpr std::chrono::seconds kPatience{120};

// What each thread of this process waits for, where one of them does not come.
inline void tell_threads() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    fmt::print(stderr, "thread {}:", task.path().filename().string());
    for (const char* what : {"comm", "wchan", "syscall", "stack"}) {
      std::ifstream file(task.path() / what);
      for (std::string line; std::getline(file, line);) fmt::print(stderr, " {}", line);
    }
    fmt::print(stderr, "\n");
  }
}

class World : public test::FsTest {
 public:
  void TestBody() override {}
};

// It is made anew now and then, for what inputs have left grows; and at a process's first, so that one input alone does
// what it did. Gone behind the last one.
template <class T>
T& world_for_input(int lives) {
  static std::unique_ptr<T> world;
  static int used = 0;
  if (world == nullptr) {
    // OpenSSL's own end is to come behind ours, so it must have begun before.
    (void)test::id_of({});
    std::atexit([] { world.reset(); });
  }
  if (world == nullptr || ++used % lives == 0) {
    world.reset();
    world = std::make_unique<T>();
  }
  return *world;
}

}  // namespace hffs::fuzz
