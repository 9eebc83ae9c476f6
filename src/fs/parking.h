// SPDX-License-Identifier: Apache-2.0
//
// Parking: the requests that wait, so that a signal of who asked, or the end of the session, can stop
// them.
//
// The kernel sends an INTERRUPT at any signal, once for each request. Stopping a page fault's read
// for one that is handled would be SIGBUS, and a stat that answers EINTR is more than most programs
// expect: those stop only if the caller is dying. After an INTERRUPT that was no such thing the caller is
// looked at now and then, for no second one comes. So are all that wait long: the kernel sends no
// INTERRUPT for read-ahead, and its reader may be gone.
//
// Threads: any; one of its own looks. Nothing else blocks.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <stop_token>
#include <thread>
#include <unordered_map>

#include "hffs/clock.h"
#include "hffs/guarded.h"

namespace hffs::fs {

enum class Signals : std::uint8_t { any, deadly };

class Parking {
 public:
  Parking();
  ~Parking();
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  struct Place {
    std::uint64_t number = 0;
    std::stop_token stop;
  };
  Place park(pid_t caller, Signals signals);
  void leave(std::uint64_t number);
  void interrupt(std::uint64_t number);
  // Stops all, and waits until all have left.
  void clear();

 private:
  struct Waiter {
    std::stop_source stop;
    pid_t caller = 0;
    Signals signals = Signals::deadly;
    bool interrupted = false;
    Instant since{};
  };
  struct Held {
    std::unordered_map<std::uint64_t, Waiter> waiters;
    std::uint64_t next = 1;
    bool ending = false;
  };
  void stop(std::uint64_t number);
  void look_after();

  Guarded<Held> held_;
  std::condition_variable left_, look_;
  std::thread looker_;
};

// `unseen`: of another pid namespace, hidden from us, or we have no descriptor left to look.
enum class Life : std::uint8_t { alive, dying, unseen };
Life find_life(pid_t thread);

}  // namespace hffs::fs
