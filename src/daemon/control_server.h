// SPDX-License-Identifier: Apache-2.0
//
// ControlServer: a unix socket that anybody may speak to, one JSON object a line each way. It
// parses what strangers send, so everything is bounded: bytes of a request, a descriptor with it, connections of a
// user, silence.
//
// Threads: one of its own, which calls the handler; the handler's Done may be called from any
// thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/posix.h"

namespace hffs {

inline constexpr const char* kControlSocketName = "control.sock";

// Who speaks, as the kernel says (SO_PEERCRED).
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  // Root and the user who started the daemon: they decide what all users of the mount see and what is kept for them.
  bool owner = false;
};

struct ControlOptions {
  std::string directory;  // where the socket is made; a socket that lies there is replaced
  uid_t owner = 0;        // who started the daemon
  std::chrono::milliseconds silence{5'000};  // a client that says nothing for so long is dropped
};

class ControlServer {
 public:
  // `given`: the descriptor that came with the request, or with one before it that did not want it; none: none came.
  using Handler = std::function<void(const Peer& peer, const nlohmann::json& request, UniqueFd given,
                                     Done<nlohmann::json>)>;

  static Result<std::unique_ptr<ControlServer>> start(ControlOptions options, Handler handler);
  // Ends the thread: nothing is answered any more, and the handler is not called.
  void stop();
  // Only now do those who sent {"command":"wait"} see the end.
  ~ControlServer();

 private:
  struct Client;
  // Answers that come from other threads.
  struct Inbox {
    struct Answer {
      std::uint64_t client = 0;
      std::string line;
    };
    Guarded<std::vector<Answer>> answers;
    UniqueFd wake;
    void ring() const;
  };

  ControlServer(ControlOptions options, Handler handler);
  Result<void> listen();
  void run();
  void accept_one();
  void serve(Client& client, short events);
  void receive(Client& client);
  void take_lines(Client& client);
  void handle(Client& client, const std::string& line);
  void send(Client& client);
  void say(Client& client, std::string line);
  void deliver_answers();
  void drop_finished();
  int poll_timeout() const;

  const ControlOptions options_;
  const Handler handler_;
  UniqueFd listener_;
  std::shared_ptr<Inbox> inbox_;
  std::atomic<bool> stopping_ = false;
  // Of the thread alone, until it has ended.
  std::map<std::uint64_t, std::unique_ptr<Client>> clients_;
  std::uint64_t next_client_ = 1;
  std::thread thread_;
};

// {"error":{"code":…,"message":…}}
nlohmann::json to_json(const Error& error);

}  // namespace hffs
