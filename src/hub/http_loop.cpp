// SPDX-License-Identifier: Apache-2.0
#include "http_loop.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>

#include "exchange.h"

namespace hffs::hub {
namespace {

constexpr std::chrono::milliseconds kLongestPoll{60'000};

// No signal is for this thread; libcurl leaves SIGPIPE to us.
void block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

HttpLoop::HttpLoop(TransportSettings settings, int connections, const Clock& clock)
    : settings_(std::move(settings)),
      connections_(std::max(2, connections)),
      // Ranges that stall must leave connections to questions.
      content_connections_(connections_ - std::max(1, connections_ / 4)),
      clock_(clock) {}

Result<std::unique_ptr<HttpLoop>> HttpLoop::open(TransportSettings settings, int connections,
                                                 const Clock& clock) {
  std::unique_ptr<HttpLoop> loop(new HttpLoop(std::move(settings), connections, clock));
  loop->multi_.reset(curl_multi_init());
  if (!loop->multi_) return fail(Code::unsupported, "libcurl does not start");
  curl_multi_setopt(loop->multi_.get(), CURLMOPT_MAXCONNECTS,
                    static_cast<long>(loop->connections_) * 4);
  loop->thread_ = std::thread([raw = loop.get()] { raw->run(); });
  return loop;
}

HttpLoop::~HttpLoop() {
  stop();
}

bool HttpLoop::post(Task task) {
  {
    auto inbox = inbox_.lock();
    if (inbox->closed) return false;
    inbox->tasks.push_back(std::move(task));
    // Under the lock: the multi handle lives until the inbox is closed.
    curl_multi_wakeup(multi_.get());
  }
  return true;
}

void HttpLoop::stop() {
  {
    auto inbox = inbox_.lock();
    inbox->stop = true;
    if (!inbox->closed) curl_multi_wakeup(multi_.get());
  }
  if (thread_.joinable()) thread_.join();
}

void HttpLoop::enter(std::shared_ptr<OpenCall> call) {
  calls_.insert(std::move(call));
}

HttpLoop::Timer HttpLoop::at(Instant due, Task task) {
  const Timer timer{due, ++timer_count_};
  timers_.emplace(timer, std::move(task));
  return timer;
}

void HttpLoop::run() {
  block_signals();
  ::pthread_setname_np(::pthread_self(), "hffs-net");
  while (true) {
    try {
      turn();
    } catch (const std::exception& error) {
      log(Level::error, "hub", "bug: the network thread caught: {}", error.what());
    }
    auto inbox = inbox_.lock();
    stopping_ = inbox->stop;
    if (!stopping_ || !inbox->tasks.empty()) continue;
    inbox.unlock();
    shut_down_calls();
    inbox = inbox_.lock();
    if (!inbox->tasks.empty() || !calls_.empty()) continue;
    inbox->closed = true;
    break;
  }
  timers_.clear();
  hosts_.clear();
  for (auto& [easy, exchange] : running_) curl_multi_remove_handle(multi_.get(), easy);
  running_.clear();
  multi_.reset();
}

void HttpLoop::turn() {
  bool busy = run_tasks();
  busy = run_timers() || busy;
  int count = 0;
  curl_multi_perform(multi_.get(), &count);
  read_messages();
  end_stalled();
  {
    auto inbox = inbox_.lock();
    busy = busy || inbox->stop || !inbox->tasks.empty();
  }
  // What callbacks started has its first timer at once, so that this does not sleep on it.
  curl_multi_poll(multi_.get(), nullptr, 0, busy ? 0 : poll_timeout(), nullptr);
}

bool HttpLoop::run_tasks() {
  std::deque<Task> tasks;
  inbox_.lock()->tasks.swap(tasks);
  for (Task& task : tasks) task();
  return !tasks.empty();
}

bool HttpLoop::run_timers() {
  bool any = false;
  while (!timers_.empty() && timers_.begin()->first.first <= now()) {
    auto node = timers_.extract(timers_.begin());
    node.mapped()();
    any = true;
  }
  return any;
}

void HttpLoop::shut_down_calls() {
  while (!calls_.empty()) {
    const auto call = *calls_.begin();
    call->shut_down();
    calls_.erase(call);
  }
}

int HttpLoop::poll_timeout() const {
  Instant next = now() + kLongestPoll;
  if (!timers_.empty()) next = std::min(next, timers_.begin()->first.first);
  for (const auto& [easy, exchange] : running_)
    if (!exchange->paused) next = std::min(next, exchange->stalls_at());
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now());
  return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, kLongestPoll.count()));
}

void HttpLoop::read_messages() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const auto found = running_.find(message->easy_handle);
    if (found == running_.end()) continue;
    const auto exchange = found->second;
    finish(exchange, exchange->ending(message->data.result));
  }
}

void HttpLoop::end_stalled() {
  std::vector<std::shared_ptr<Exchange>> stalled;
  for (const auto& [easy, exchange] : running_)
    if (!exchange->paused && exchange->stalls_at() <= now()) stalled.push_back(exchange);
  for (const auto& exchange : stalled)
    finish(exchange, {.silent = true, .why = "no byte came for too long"});
}

bool HttpLoop::may_run(const Host& host, const Exchange& exchange) const {
  if (host.running >= connections_) return false;
  return exchange.request.lane == Lane::metadata || host.content < content_connections_;
}

std::shared_ptr<Exchange> HttpLoop::start(HttpRequest request, std::shared_ptr<Listener> listener) {
  auto exchange = std::make_shared<Exchange>(std::move(request), std::move(listener), clock_);
  Host& host = hosts_[exchange->request.url.origin()];
  if (may_run(host, *exchange))
    launch(exchange);
  else
    host.waiting.push_back(exchange);
  return exchange;
}

void HttpLoop::launch(const std::shared_ptr<Exchange>& exchange) {
  Host& host = hosts_[exchange->request.url.origin()];
  ++host.running;
  if (exchange->request.lane == Lane::content) ++host.content;
  exchange->launched = true;
  if (exchange->prepare(settings_)) {
    running_.emplace(exchange->easy.get(), exchange);
    if (curl_multi_add_handle(multi_.get(), exchange->easy.get()) == CURLM_OK) return;
    running_.erase(exchange->easy.get());
  }
  // Not at once: who started it does not have it yet.
  at(now(), [this, exchange] { finish(exchange, exchange->ending(CURLE_OUT_OF_MEMORY)); });
}

void HttpLoop::release(Exchange& exchange) {
  if (exchange.easy && running_.erase(exchange.easy.get()) > 0)
    curl_multi_remove_handle(multi_.get(), exchange.easy.get());
  exchange.easy.reset();
  if (!exchange.launched) return;
  exchange.launched = false;
  Host& host = hosts_[exchange.request.url.origin()];
  --host.running;
  if (exchange.request.lane == Lane::content) --host.content;
}

// Starts what waited for a connection to this origin; questions before content.
void HttpLoop::admit(const std::string& origin) {
  const auto found = hosts_.find(origin);
  if (found == hosts_.end()) return;
  auto& waiting = found->second.waiting;
  for (const Lane lane : {Lane::metadata, Lane::content}) {
    for (auto next = waiting.begin(); next != waiting.end();) {
      const auto exchange = *next;
      if (exchange->listener && exchange->request.lane != lane) {
        ++next;
        continue;
      }
      if (exchange->listener && !may_run(found->second, *exchange)) break;
      next = waiting.erase(next);
      if (exchange->listener) launch(exchange);
    }
  }
  if (waiting.empty() && found->second.running == 0) hosts_.erase(found);
}

void HttpLoop::finish(const std::shared_ptr<Exchange>& exchange, Ending ending) {
  const auto listener = std::exchange(exchange->listener, nullptr);
  release(*exchange);
  admit(exchange->request.url.origin());
  if (listener) listener->on_end(ending);
}

void HttpLoop::abort(const std::shared_ptr<Exchange>& exchange) {
  if (!exchange || !exchange->listener) return;
  exchange->listener = nullptr;
  release(*exchange);
  admit(exchange->request.url.origin());
}

void HttpLoop::resume(const std::shared_ptr<Exchange>& exchange) {
  if (!exchange || !exchange->listener || !exchange->paused || !exchange->easy) return;
  exchange->paused = false;
  exchange->touch();
  curl_easy_pause(exchange->easy.get(), CURLPAUSE_CONT);
}

}  // namespace hffs::hub
