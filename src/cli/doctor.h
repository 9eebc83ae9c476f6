// SPDX-License-Identifier: Apache-2.0
//
// What `hffs doctor` looks at, and what it finds. Each look is a function of its own: it changes nothing, and ends within
// seconds whatever hangs. Threads: main only; what may hang is done aside.
#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ask.h"
#include "hffs/daemon.h"
#include "hffs/keeper.h"

namespace hffs::cli {

enum class Grade { ok, warn, fail };

struct Check {
  std::string name;
  Grade grade = Grade::ok;
  std::string says;
  Code code = Code::bug;  // of what fails
  // What to do: a command line that repairs it, as it stands; and where there is none, who can, and how.
  std::string run, who;
};
using Checks = std::vector<Check>;

struct Remedy {
  std::string run, who;
};
Check good(std::string name, std::string says);
Check doubtful(std::string name, std::string says, Remedy remedy);
Check bad(std::string name, Code code, std::string says, Remedy remedy);

// What is looked at, gathered once.
struct Patient {
  Flags flags;  // as a mount would be told
  Environment environment;
  std::optional<Config> config;  // nothing: it cannot be used
  std::optional<Error> config_error;
  std::optional<Error> token_error;  // config is what it is without the token
  std::vector<HffsMount> mounts;
  std::string mount_point;               // that was named, or of the daemon that was found; empty: none
  bool named = false;
  std::optional<nlohmann::json> status;  // of the daemon
  std::optional<Error> silence;          // why there is none
  bool hangs = false;                    // some look did not end
};
Patient examine(Flags flags);

// The command that mounts as `patient` would be mounted.
std::string mount_line(const Patient& patient, const std::string& mount_point);
// As the kernel lists it; nullptr: it is not seen from here.
const HffsMount* find_listed(const Patient& patient, const std::string& mount_point);
// hffs.service, whose environment is in a file, and which ends and begins by its manager alone.
bool is_service(const Patient& patient);
struct Anew {
  std::string before, without;  // what is said first; an option of the daemon's that is left out
  std::string by_root;          // of the service: what root does before it is restarted
};
// The daemon ended and begun again by its own command: in this shell if it is ours, else by who can.
Remedy begin_anew(const Patient& patient, const Anew& how);
// The line for a shell of root's, by sudo where this is none; for one of `user`, where that is us.
std::string as_root(const std::string& line);
std::string as_root_unless(uid_t user, const std::string& line);

Checks check_machine(const Patient& patient);  // kernel, /dev/fuse, fusermount3
Checks check_mounts(const Patient& patient);   // dead ones, the daemon, how it reads
Checks check_state(const Patient& patient);    // the state directory and its room
Checks check_network(Patient& patient);        // clock, proxies, certificates, endpoints, token
Checks check_clients(const Patient& patient);  // variables of the Hub's clients
Checks check_settings(const Patient& patient);

// A look that may hang: done by a thread that is left behind then.
template <class T>
class Aside {
 public:
  template <class Look>
  explicit Aside(Look look) {
    std::packaged_task<T()> task(std::move(look));
    found_ = task.get_future();
    std::thread(std::move(task)).detach();
  }
  // Nothing: it hangs.
  std::optional<T> wait_until(std::chrono::steady_clock::time_point end) {
    if (found_.wait_until(end) != std::future_status::ready) return std::nullopt;
    return found_.get();
  }

 private:
  std::future<T> found_;
};

}  // namespace hffs::cli
