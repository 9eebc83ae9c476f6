// SPDX-License-Identifier: Apache-2.0
#include "metadata_call.h"

#include <algorithm>

namespace hffs::hub {
namespace {

// A page of 1,000 entries has half a megabyte; mirrors without pages send whole trees.
constexpr std::size_t kMostBody = std::size_t{64} << 20;

}  // namespace

MetadataCall::MetadataCall(Session& session, Question question, Reader reader, Finish finish)
    : session_(session),
      question_(std::move(question)),
      reader_(std::move(reader)),
      finish_(std::move(finish)),
      asked_(session.endpoints.size()) {}

void MetadataCall::start() {
  session_.loop.enter(shared_from_this());
  if (session_.loop.stopping()) return shut_down();
  set_timer(deadline_, question_.deadline, &MetadataCall::deadline_passed);
  choose();
}

void MetadataCall::choose() {
  if (std::any_of(session_.endpoints.begin(), session_.endpoints.end(),
                  [](const Endpoint& each) { return !each.health.up(); }))
    session_.probe();
  std::vector<Standing> standings;
  for (std::size_t i = 0; i < session_.endpoints.size(); ++i) {
    Endpoint& each = session_.endpoints[i];
    const bool excluded = question_.endpoint && *question_.endpoint != i;
    standings.push_back({each.health.up(), excluded || asked_[i], each.waits(Budget::api)});
  }
  const Choice choice = choose_endpoint(standings, fresh_, session_.loop.now(), question_.deadline);
  switch (choice.kind) {
    case Choice::Kind::ask: return ask(choice.endpoint);
    case Choice::Kind::wait: return set_timer(pause_, choice.at, &MetadataCall::choose);
    case Choice::Kind::round_over: return end_round();
    case Choice::Kind::all_down:
      return end(Error{Code::unreachable,
                       fmt::format("{}: the endpoint is down: {}", question_.what,
                                   session_.endpoints.front().health.last_error()),
                       session_.options.probe_interval});
    case Choice::Kind::too_late:
      const auto wait = std::chrono::ceil<Milliseconds>(choice.at - session_.loop.now());
      return end(Error{Code::rate_limited,
                       fmt::format("{}: the endpoint asks us to wait {} s", question_.what,
                                   std::chrono::ceil<std::chrono::seconds>(wait).count()),
                       wait});
  }
}

void MetadataCall::ask(std::size_t endpoint) {
  fresh_ = false;
  asked_[endpoint] = true;
  answer_ = {};
  answer_.endpoint = endpoint;
  token_ = question_.token  ? *question_.token
           : question_.repo ? session_.token_for(*question_.repo)
                            : session_.options.token;
  began_ = session_.loop.now();
  const Endpoint& target = session_.endpoints[endpoint];
  journey_.emplace(target.base, target.url(question_.path));
  std::size_t others = 0;
  for (std::size_t i = 0; i < asked_.size(); ++i)
    others += !asked_[i] && session_.endpoints[i].health.up() && !question_.endpoint;
  const auto left = std::chrono::duration_cast<Milliseconds>(question_.deadline - began_);
  set_timer(first_byte_, began_ + first_byte_limit(left, others, rounds_ + 1 < kMostRounds),
            &MetadataCall::first_byte_late);
  session_.metrics.add(Metric::api_requests);
  send();
}

void MetadataCall::send() {
  answer_.url = journey_->here();
  answer_.at_home = journey_->at_home();
  answer_.status = 0;
  answer_.headers.clear();
  answer_.body.clear();
  has_headers_ = too_large_ = false;
  HttpRequest request{.method = question_.method,
                      .url = journey_->here(),
                      .body = question_.body,
                      .sent_from = session_.sender_of(*journey_),
                      .fresh_connection = broken_,
                      .stall_timeout = session_.options.stall_timeout};
  if (question_.method == Method::head) request.headers.push_back("Accept-Encoding: identity");
  if (journey_->at_home()) request.token = token_;
  exchange_ = session_.loop.start(std::move(request), shared_from_this());
}

void MetadataCall::on_headers(int status, const Headers& headers) {
  has_headers_ = true;
  answer_.status = status;
  answer_.headers = headers;
  log_answer(question_.method, journey_->here(), status, headers);
  if (!journey_->at_home()) return;
  answer_.trail.append(headers);
  session_.note_answer(answer_.endpoint);
}

Flow MetadataCall::on_body(std::span<const std::byte> bytes) {
  too_large_ = answer_.body.size() + bytes.size() > kMostBody;
  if (too_large_) return Flow::stop;
  answer_.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return Flow::more;
}

void MetadataCall::on_end(const Ending& ending) {
  exchange_ = nullptr;
  if (ending.refused) {
    session_.note_refused(journey_->here(), ending.why);
    refused_ = true;
    return attempt_failed(
        {Code::unreachable, fmt::format("{}: {}", journey_->here().shown(), ending.why), {}});
  }
  if (!has_headers_ || !ending.complete) {
    if (!has_headers_ && journey_->at_home())
      session_.note_failure(answer_.endpoint, began_, ending);
    broken_ = true;
    return attempt_failed({ending.silent ? Code::timed_out : Code::unreachable,
                           fmt::format("{}: {}", journey_->here().shown(),
                                       too_large_ ? "the answer is too large" : ending.why),
                           {}});
  }
  if (!is_redirect(answer_.status) || !answer_.headers.has("location")) return settle();
  const Url from = journey_->here();
  journey_->note_answer(ending.peer);
  if (auto step = journey_->follow(answer_.headers); !step)
    return attempt_failed(std::move(step.error()).during(from.shown()));
  if (question_.stop_when_leaving && !journey_->at_home()) return settle();
  send();
}

void MetadataCall::settle() {
  const int status = answer_.status;
  answer_.verdict = is_redirect(status) && answer_.headers.has("location")
                        ? Verdict::ok
                        : judge(status, answer_.headers);
  switch (answer_.verdict) {
    case Verdict::rate_limited:
    case Verdict::transient: {
      Error error = refusal(answer_.verdict, status, answer_.headers, question_.what);
      if (error.retry_after.count() == 0 && answer_.verdict == Verdict::rate_limited)
        error.retry_after = Milliseconds{1'000};
      if (answer_.at_home && error.retry_after.count() > 0)
        session_.note_wait(answer_.endpoint, Budget::api, error.retry_after);
      return attempt_failed(std::move(error));
    }
    case Verdict::nonsense:
      return attempt_failed(refusal(answer_.verdict, status, answer_.headers, question_.what));
    default: break;
  }
  if (is_turned_down(answer_.verdict) && another_token()) return ask(answer_.endpoint);
  if (auto read = reader_(answer_); !read)
    return attempt_failed(std::move(read.error()).during(question_.what));
  end(std::nullopt);
}

// A user's right to the repository may have ended where another's goes on.
bool MetadataCall::another_token() {
  constexpr int kMost = 8;
  return question_.repo && !question_.token && answer_.at_home && tokens_++ < kMost &&
         session_.note_turned_down(*question_.repo, token_);
}

void MetadataCall::attempt_failed(Error error) {
  clear_timer(first_byte_);
  last_error_ = std::move(error);
  choose();
}

void MetadataCall::end_round() {
  ++rounds_;
  // Who was sent where he must not go is sent there again.
  const auto pause = refused_ ? std::nullopt : pause_after(rounds_);
  if (!pause || session_.loop.now() + *pause >= question_.deadline)
    return end(std::move(last_error_));
  std::fill(asked_.begin(), asked_.end(), false);
  session_.metrics.add(Metric::requests_retried);
  set_timer(pause_, session_.loop.now() + *pause, &MetadataCall::choose);
}

void MetadataCall::first_byte_late() {
  if (has_headers_) return;  // it is on its way; the deadline ends it
  const auto exchange = std::exchange(exchange_, nullptr);
  session_.loop.abort(exchange);
  const Ending ending{.silent = true, .why = "no answer in time"};
  broken_ = true;
  if (journey_->at_home()) session_.note_failure(answer_.endpoint, began_, ending);
  attempt_failed(
      {Code::timed_out, fmt::format("{}: {}", journey_->here().shown(), ending.why), {}});
}

void MetadataCall::deadline_passed() {
  const bool silent = exchange_ && !has_headers_ && journey_->at_home();
  session_.loop.abort(std::exchange(exchange_, nullptr));
  if (silent)
    session_.note_failure(answer_.endpoint, began_, {.silent = true, .why = "no answer in time"});
  end(Error{Code::timed_out,
            fmt::format("{}: no answer within {} ms; last: {}", question_.what,
                        session_.options.metadata_deadline.count(), last_error_.message),
            {}});
}

void MetadataCall::shut_down() {
  session_.loop.abort(std::exchange(exchange_, nullptr));
  end(Error{Code::cancelled, "shutting down", {}});
}

void MetadataCall::end(std::optional<Error> error) {
  const auto self = shared_from_this();
  stop_timers();
  session_.loop.leave(self);
  session_.count_end(error ? &*error : nullptr);
  reader_ = nullptr;
  if (auto finish = std::exchange(finish_, nullptr)) finish(std::move(error));
}

void MetadataCall::set_timer(std::optional<HttpLoop::Timer>& timer, Instant due,
                             void (MetadataCall::*then)()) {
  clear_timer(timer);
  timer = session_.loop.at(due, [self = shared_from_this(), &timer, then] {
    timer.reset();
    ((*self).*then)();
  });
}

void MetadataCall::clear_timer(std::optional<HttpLoop::Timer>& timer) {
  if (timer) session_.loop.cancel(*timer);
  timer.reset();
}

void MetadataCall::stop_timers() {
  clear_timer(deadline_);
  clear_timer(pause_);
  clear_timer(first_byte_);
}

}  // namespace hffs::hub
