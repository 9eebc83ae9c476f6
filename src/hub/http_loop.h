// SPDX-License-Identifier: Apache-2.0
//
// HttpLoop: the network thread. It owns libcurl's multi handle and every easy handle, runs what
// other threads post, and keeps timers. It knows requests and answers, nothing of the Hub.
//
// Threads: post() from any; everything else on the network thread. Only curl_multi_poll blocks
// there.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <set>
#include <span>
#include <thread>

#include "curl.h"
#include "headers.h"
#include "hffs/clock.h"
#include "hffs/guarded.h"

namespace hffs::hub {

// How an exchange ended, other than by a whole answer.
struct Ending {
  bool complete = false;  // status, headers and the body as long as they said
  bool silent = false;    // no byte came for too long, or no connection in time
  bool stopped = false;   // the listener wanted no more
  bool refused = false;   // it leads where whoever sent us must not send us: nothing was sent
  Zone peer = Zone::global;  // who answered, or would have
  std::string why;        // for people; no address, no query
};

// Hears one request's answer, on the network thread, out of libcurl's callbacks: it may post and
// keep timers, but must not start or abort exchanges before on_end.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void on_headers(int status, const Headers& headers) = 0;
  virtual Flow on_body(std::span<const std::byte> bytes) = 0;
  virtual void on_end(const Ending& ending) = 0;  // once, unless aborted
};

// A call that must not outlive the loop.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  virtual void shut_down() = 0;  // completes with Code::cancelled
};

class Exchange;  // one request under way
using Task = std::move_only_function<void()>;

class HttpLoop {
 public:
  using Timer = std::pair<Instant, std::uint64_t>;

  static Result<std::unique_ptr<HttpLoop>> open(TransportSettings settings, int connections,
                                                const Clock& clock);
  ~HttpLoop();

  // False after stop(): the task will not run.
  bool post(Task task);
  // Ends every open call and joins the thread. Not from the network thread.
  void stop();

  // --- the network thread only
  Instant now() const { return clock_.now(); }
  bool stopping() const { return stopping_; }
  void enter(std::shared_ptr<OpenCall> call);
  void leave(const std::shared_ptr<OpenCall>& call) { calls_.erase(call); }
  std::shared_ptr<Exchange> start(HttpRequest request, std::shared_ptr<Listener> listener);
  void abort(const std::shared_ptr<Exchange>& exchange);  // no on_end
  void resume(const std::shared_ptr<Exchange>& exchange);
  Timer at(Instant due, Task task);
  void cancel(const Timer& timer) { timers_.erase(timer); }

 private:
  struct Host {
    int running = 0;
    int content = 0;
    std::deque<std::shared_ptr<Exchange>> waiting;
  };
  struct Inbox {
    std::deque<Task> tasks;
    bool closed = false;
    bool stop = false;
  };

  HttpLoop(TransportSettings settings, int connections, const Clock& clock);
  void run();
  void turn();
  bool run_tasks();
  bool run_timers();
  void shut_down_calls();
  void read_messages();
  void end_stalled();
  int poll_timeout() const;
  bool may_run(const Host& host, const Exchange& exchange) const;
  void launch(const std::shared_ptr<Exchange>& exchange);
  void release(Exchange& exchange);
  void admit(const std::string& origin);
  void finish(const std::shared_ptr<Exchange>& exchange, Ending ending);

  const TransportSettings settings_;
  const int connections_;
  const int content_connections_;
  const Clock& clock_;
  MultiHandle multi_;
  Guarded<Inbox> inbox_;
  // Of the network thread:
  bool stopping_ = false;
  std::uint64_t timer_count_ = 0;
  std::map<Timer, Task> timers_;
  std::map<std::string, Host> hosts_;
  std::map<CURL*, std::shared_ptr<Exchange>> running_;
  std::set<std::shared_ptr<OpenCall>> calls_;
  std::thread thread_;
};

}  // namespace hffs::hub
