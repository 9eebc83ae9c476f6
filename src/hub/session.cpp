// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <algorithm>

namespace hffs::hub {
namespace {

constexpr Milliseconds kProbeLimit{3'000};

// HEAD of the endpoint's front page: whatever it answers, it answers.
class Probe final : public Listener, public OpenCall, public std::enable_shared_from_this<Probe> {
 public:
  Probe(Session& session, std::size_t endpoint) : session_(session), endpoint_(endpoint) {}

  void start() {
    Endpoint& endpoint = session_.endpoints[endpoint_];
    endpoint.probing = true;
    endpoint.probed = session_.loop.now();
    began_ = endpoint.probed;
    session_.loop.enter(shared_from_this());
    exchange_ = session_.loop.start({.method = Method::head,
                                     .url = endpoint.url("/"),
                                     .fresh_connection = true,
                                     .stall_timeout = kProbeLimit},
                                    shared_from_this());
  }
  void on_headers(int, const Headers&) override { answered_ = true; }
  Flow on_body(std::span<const std::byte>) override { return Flow::stop; }
  void on_end(const Ending& ending) override {
    session_.endpoints[endpoint_].probing = false;
    if (answered_)
      session_.note_answer(endpoint_);
    else
      session_.note_failure(endpoint_, began_, ending);
    session_.loop.leave(shared_from_this());
  }
  void shut_down() override {
    session_.loop.abort(exchange_);
    session_.loop.leave(shared_from_this());
  }

 private:
  Session& session_;
  const std::size_t endpoint_;
  std::shared_ptr<Exchange> exchange_;
  Instant began_{};
  bool answered_ = false;
};

std::string printable(std::string_view text) {
  std::string result(text.substr(0, 200));
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return result;
}

}  // namespace

Url Endpoint::url(std::string_view path_and_query) const {
  Url url = base;
  const std::size_t question = path_and_query.find('?');
  url.path += path_and_query.substr(0, question);
  url.query = question == path_and_query.npos ? "" : path_and_query.substr(question + 1);
  return url;
}

Session::Session(const OriginOptions& given, std::vector<Endpoint> parsed, HttpLoop& http,
                 const Clock& time, Metrics& counters)
    : options(given),
      loop(http),
      clock(time),
      metrics(counters),
      endpoints(std::move(parsed)),
      signed_urls(time) {
  publish();
}

void Session::publish() {
  std::vector<Origin::Health> list;
  for (const Endpoint& each : endpoints)
    list.push_back({each.base.text(), each.health.up(), each.health.last_error()});
  *published_.lock() = std::move(list);
}

Secret Session::token_for(const RepoId& repo) const {
  if (options.credentials != nullptr)
    if (Secret token = options.credentials->choose(repo); !token.empty()) return token;
  return options.token;
}

bool Session::note_turned_down(const RepoId& repo, const Secret& token) const {
  return options.credentials != nullptr && options.credentials->note_refused(repo, token);
}

void Session::note_answer(std::size_t endpoint) {
  Endpoint& each = endpoints[endpoint];
  const bool quiet = each.health.last_error().empty();
  const bool back = each.health.note_answer(loop.now());
  if (back) log(Level::info, "hub", "{} answers again", each.base.shown());
  if (back || !quiet) publish();
}

void Session::note_failure(std::size_t endpoint, Instant began, const Ending& ending) {
  Endpoint& each = endpoints[endpoint];
  if (each.health.note_failure(began, loop.now(), ending.silent, ending.why))
    log(Level::warn, "hub", "{} cannot be reached: {}", each.base.shown(), ending.why);
  publish();
}

void Session::note_wait(std::size_t endpoint, Budget budget, Milliseconds wait) {
  Instant& until = endpoints[endpoint].waits(budget);
  until = std::max(until, loop.now() + wait);
}

void Session::probe() {
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const Endpoint& each = endpoints[i];
    if (each.health.up() || each.probing || loop.stopping()) continue;
    if (each.probed != Instant{} && loop.now() - each.probed < options.probe_interval) continue;
    std::make_shared<Probe>(*this, i)->start();
  }
}

std::optional<std::size_t> Session::endpoint_for_content(const std::vector<bool>& tried) {
  std::optional<std::size_t> waiting, down;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (tried[i]) continue;
    const Health& health = endpoints[i].health;
    if (health.up() && endpoints[i].waits(Budget::files) <= loop.now()) return i;
    if (health.up() && !waiting) waiting = i;
    if (!health.up() && (!down || health.last_failure() < endpoints[*down].health.last_failure()))
      down = i;
  }
  if (std::find(tried.begin(), tried.end(), true) != tried.end()) return std::nullopt;
  return waiting ? waiting : down;
}

void Session::count_end(const Error* error) {
  if (error != nullptr && error->code != Code::cancelled) metrics.add(Metric::requests_failed);
}

// The administrator named the endpoint, and what is listed: they may be anywhere.
Zone Session::sender_of(const Journey& journey) const {
  const bool named = journey.at_home() || is_listed(options.internal_hosts, journey.here().host);
  return named ? Zone::loopback : journey.sender();
}

void Session::note_refused(const Url& url, const std::string& why) {
  constexpr std::size_t kMostWarned = 100;  // a hostile Hub has many names
  if (refused_.size() >= kMostWarned || !refused_.insert(url.origin()).second) return;
  log(Level::warn, "hub", "{} was not asked, where a redirect led: {}", url.origin(), why);
}

Result<std::vector<Endpoint>> parse_endpoints(const std::vector<std::string>& urls) {
  std::vector<Endpoint> endpoints;
  for (const std::string& text : urls) {
    auto url = parse_url(text);
    if (!url || !url->query.empty())
      return fail(Code::invalid, "'{}' is not the address of a Hub: expected https://HOST[:PORT]",
                  text.find('@') == text.npos ? text : "(an address with a password)");
    while (url->path.ends_with('/')) url->path.pop_back();
    endpoints.push_back({.base = std::move(*url)});
  }
  if (endpoints.empty()) return fail(Code::invalid, "no endpoint");
  return endpoints;
}

void log_answer(Method method, const Url& url, int status, const Headers& headers) {
  constexpr std::array<std::string_view, 3> kNames{"GET", "HEAD", "POST"};
  log(Level::debug, "hub", "{} {} status={} request_id={}",
      kNames[static_cast<std::size_t>(method)], url.shown(), status,
      printable(headers.get("x-request-id")));
  if (headers.has("x-hf-warning"))
    log(Level::warn, "hub", "{} warns: {}", url.origin(), printable(headers.get("x-hf-warning")));
}

}  // namespace hffs::hub
