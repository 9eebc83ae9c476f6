// SPDX-License-Identifier: Apache-2.0
#include "range_call.h"

#include "paths.h"

namespace hffs::hub {
namespace {

// The body of a redirect or an error is read so far, for the connection's sake.
constexpr std::size_t kMostDiscarded = 64 * 1024;

}  // namespace

RangeCall::RangeCall(Session& session, FileSource file, ByteRange range,
                     std::shared_ptr<RangeSink> sink)
    : session_(session),
      file_(std::move(file)),
      range_(range),
      sink_(std::move(sink)),
      key_(file_.repo.text() + '@' + file_.blob.hex()),
      tried_(session.endpoints.size()) {}

void RangeCall::start() {
  session_.loop.enter(shared_from_this());
  if (session_.loop.stopping()) return cancel();
  resolve();
}

// Where to ask: at a kept address, behind who asks already, or at the endpoint.
void RangeCall::resolve() {
  if (auto known = session_.signed_urls.find(key_)) {
    from_memory_ = true;
    store_ = known->url;
    commit_seen_ = true;
    return go(Journey(session_.endpoints.front().base, std::move(known->url), known->sender));
  }
  if (session_.signed_urls.is_direct(key_)) return ask_endpoint();
  leading_ = session_.signed_urls.join(
      key_, [weak = weak_from_this()](SignedUrls::Found found, const Error* error) {
        if (const auto self = weak.lock()) self->resolved(found, error);
      });
  if (leading_) ask_endpoint();
}

void RangeCall::resolved(SignedUrls::Found found, const Error* error) {
  if (!sink_) return;
  if (found == SignedUrls::Found::nothing && error != nullptr) return end(fail(Error(*error)));
  // An address of so short a life that it was not kept, too: everybody asks for himself.
  if (found == SignedUrls::Found::direct) return ask_endpoint();
  resolve();
}

void RangeCall::land(SignedUrls::Found found, const Error* error) {
  if (!std::exchange(leading_, false)) return;
  auto waiters = session_.signed_urls.land(key_);
  if (waiters.empty()) return;
  // After the callback that we may be in: waiters start exchanges.
  session_.loop.at(session_.loop.now(),
                   [waiters = std::move(waiters), found,
                    kept = error ? std::optional(*error) : std::nullopt]() mutable {
                     for (auto& waiter : waiters) waiter(found, kept ? &*kept : nullptr);
                   });
}

void RangeCall::ask_endpoint() {
  endpoint_ = session_.endpoint_for_content(tried_).value_or(endpoint_);
  tried_[endpoint_] = true;
  Endpoint& endpoint = session_.endpoints[endpoint_];
  if (!endpoint.health.up()) session_.probe();
  const Instant now = session_.loop.now();
  if (const Instant until = endpoint.waits(Budget::files); until > now) {
    const auto wait = std::chrono::ceil<Milliseconds>(until - now);
    return end(fail(Error{Code::rate_limited,
                          fmt::format("{}: the endpoint asks us to wait", file_.path), wait}));
  }
  from_memory_ = false;
  counted_ = true;
  commit_seen_ = false;
  store_.reset();
  go(Journey(endpoint.base,
             endpoint.url(resolve_path(file_.repo, file_.commit.hex(), file_.path))));
}

// Asks the next endpoint, if there is another and it may do better: in trouble, and where this one
// does not have what another may (a mirror of a part, a token that only one of them knows).
bool RangeCall::fail_over(const Error& error) {
  constexpr int kMostTokens = 8;
  if (std::exchange(turned_down_, false) && tokens_++ < kMostTokens &&
      session_.note_turned_down(file_.repo, token_)) {
    tried_[endpoint_] = false;
    ask_endpoint();
    return true;
  }
  const bool no = error.code == Code::not_found || error.code == Code::denied ||
                  error.code == Code::needs_login || error.code == Code::corrupt ||
                  error.code == Code::refused;
  if (tried_.size() < 2 || (!info(error.code).retry_helps && !no)) return false;
  if (!session_.endpoint_for_content(tried_)) return false;
  ask_endpoint();
  return true;
}

void RangeCall::go(Journey journey) {
  journey_.emplace(std::move(journey));
  send();
}

void RangeCall::send() {
  verdict_.reset();
  headers_.clear();
  turned_down_ = false;
  discarded_ = 0;
  began_ = session_.loop.now();
  HttpRequest request{
      .lane = Lane::content,
      .url = journey_->here(),
      .headers = {"Accept-Encoding: identity",
                  fmt::format("Range: bytes={}-{}", range_.offset, range_.end() - 1)},
      .sent_from = session_.sender_of(*journey_),
      .stall_timeout = session_.options.stall_timeout};
  if (journey_->at_home()) request.token = token_ = session_.token_for(file_.repo);
  session_.metrics.add(Metric::content_requests);
  exchange_ = session_.loop.start(std::move(request), shared_from_this());
}

void RangeCall::on_headers(int status, const Headers& headers) {
  log_answer(Method::get, journey_->here(), status, headers);
  const bool home = journey_->at_home();
  if (home) session_.note_answer(endpoint_);
  turned_down_ = home && is_turned_down(judge(status, headers));
  // Only the resolve route itself is counted; where it leads to is of another budget.
  if (std::exchange(counted_, false))
    if (const auto limit = parse_rate_limit(headers.get("ratelimit")))
      session_.files_left = static_cast<std::int64_t>(std::min<std::uint64_t>(limit->left, INT32_MAX));
  headers_ = headers;
  verdict_ = check_content(
      file_, range_,
      {.status = status, .headers = headers, .at_home = home, .commit_seen = commit_seen_});
  commit_seen_ = commit_seen_ || headers.has("x-repo-commit");
  if (home && status == 429) {
    auto& wait = verdict_->error.retry_after;
    if (wait.count() == 0) wait = Milliseconds{1'000};
    session_.note_wait(endpoint_, Budget::files, wait);
  }
  if (verdict_->kind != ContentVerdict::Kind::accept) return;
  if (home) {
    session_.signed_urls.remember_direct(key_);
    land(SignedUrls::Found::direct);
  }
  next_ = verdict_->delivered.offset;
  sink_->on_start(verdict_->delivered);
}

Flow RangeCall::on_body(std::span<const std::byte> bytes) {
  if (!verdict_ || verdict_->kind != ContentVerdict::Kind::accept) {
    discarded_ += bytes.size();
    return discarded_ > kMostDiscarded ? Flow::stop : Flow::more;
  }
  const std::uint64_t left = verdict_->delivered.end() - next_;
  if (bytes.size() > left) {
    verdict_->error = {Code::unreachable, "more bytes came than were announced", {}};
    return Flow::stop;
  }
  const Flow flow = sink_->on_data(next_, bytes);
  if (flow != Flow::more) return flow;
  next_ += bytes.size();
  session_.metrics.add(Metric::content_bytes, static_cast<std::int64_t>(bytes.size()));
  return Flow::more;
}

void RangeCall::on_end(const Ending& ending) {
  exchange_ = nullptr;
  journey_->note_answer(ending.peer);
  if (!verdict_) {
    if (journey_->at_home()) session_.note_failure(endpoint_, began_, ending);
    // A store that moved away: the next attempt asks for the address anew.
    if (store_ && (from_memory_ || ending.refused)) session_.signed_urls.forget(key_, *store_);
    if (ending.refused) {
      session_.note_refused(journey_->here(), ending.why);
      return refuse({Code::refused, ending.why, {}});
    }
    return refuse({ending.silent ? Code::timed_out : Code::unreachable, ending.why, {}});
  }
  using Kind = ContentVerdict::Kind;
  switch (verdict_->kind) {
    case Kind::accept: return end_delivery(ending);
    case Kind::redirect: return follow();
    case Kind::expired:
    case Kind::contradicts:
      if (store_) session_.signed_urls.forget(key_, *store_);
      if (std::exchange(asked_again_, true)) break;
      // The same endpoint once more; who leads others goes on doing so.
      tried_[endpoint_] = false;
      return leading_ ? ask_endpoint() : resolve();
    case Kind::refused: break;
  }
  refuse(std::move(verdict_->error));
}

// Nothing of this answer is used.
void RangeCall::refuse(Error error) {
  if (fail_over(error)) return;
  end(fail(std::move(error).during(journey_->here().shown())));
}

void RangeCall::follow() {
  const bool was_home = journey_->at_home();
  if (auto step = journey_->follow(headers_); !step) return refuse(std::move(step.error()));
  if (was_home && !journey_->at_home()) {
    store_ = journey_->here();
    // Only an address that a Hub gave is worth keeping.
    if (commit_seen_) session_.signed_urls.remember(key_, {*store_, journey_->sender()});
    land(session_.signed_urls.find(key_) ? SignedUrls::Found::address : SignedUrls::Found::direct);
  }
  send();
}

void RangeCall::end_delivery(const Ending& ending) {
  if (next_ == verdict_->delivered.end() && verdict_->error.message.empty()) return end({});
  if (!verdict_->error.message.empty())
    return end(fail(std::move(verdict_->error).during(journey_->here().shown())));
  if (ending.stopped) return end(fail(Code::cancelled, "no more is wanted"));
  end(fail(ending.silent ? Code::timed_out : Code::unreachable, "{}: {} bytes short: {}",
           journey_->here().shown(), verdict_->delivered.end() - next_,
           ending.complete ? "the answer ended" : ending.why));
}

void RangeCall::resume() {
  session_.loop.resume(exchange_);
}

void RangeCall::cancel() {
  session_.loop.abort(std::exchange(exchange_, nullptr));
  if (leading_) land(SignedUrls::Found::abandoned);
  end(fail(Code::cancelled, "cancelled"));
}

void RangeCall::end(Result<void> result) {
  if (!sink_) return;
  const auto self = shared_from_this();
  if (leading_) {
    land(result ? SignedUrls::Found::direct : SignedUrls::Found::nothing,
         result ? nullptr : &result.error());
  }
  session_.loop.leave(self);
  session_.count_end(result ? nullptr : &result.error());
  std::exchange(sink_, nullptr)->on_done(std::move(result));
}

void RangeHandle::resume() {
  if (const auto loop = loop_.lock())
    loop->post([weak = call_] {
      if (const auto call = weak.lock()) call->resume();
    });
}

void RangeHandle::cancel() {
  if (const auto loop = loop_.lock())
    loop->post([weak = call_] {
      if (const auto call = weak.lock()) call->cancel();
    });
}

}  // namespace hffs::hub
