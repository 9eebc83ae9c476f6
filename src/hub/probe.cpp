// SPDX-License-Identifier: Apache-2.0
#include "hffs/probe.h"

#include <array>

#include "answers.h"
#include "curl.h"
#include "headers.h"
#include "paths.h"
#include "verdict.h"

namespace hffs {
namespace hub {
namespace {

using Step = EndpointProbe::Step;

// Far above the answer to who somebody is; the rest of a page is not looked at.
constexpr std::size_t kMostHeard = 64 * 1'024;

struct Heard {
  int status = 0;
  Headers headers;
  std::string body;
};

std::size_t hear_header(char* data, std::size_t size, std::size_t count, void* to) {
  auto& heard = *static_cast<Heard*>(to);
  const std::string_view line(data, size * count);
  // Of the last answer: a 1xx may come first.
  if (line.starts_with("HTTP/")) heard.headers.clear();
  if (const std::size_t colon = line.find(':'); colon != line.npos)
    heard.headers.add(trim(line.substr(0, colon)), line.substr(colon + 1));
  return size * count;
}

std::size_t hear_body(char* data, std::size_t size, std::size_t count, void* to) {
  auto& heard = *static_cast<Heard*>(to);
  if (heard.body.size() > kMostHeard) return 0;
  heard.body.append(data, size * count);
  return size * count;
}

bool passed(CURL* easy, CURLINFO mark) {
  curl_off_t time = 0;
  return curl_easy_getinfo(easy, mark, &time) == CURLE_OK && time > 0;
}

Step step_of(CURL* easy, CURLcode code, bool secure) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Step::resolve;
    case CURLE_COULDNT_CONNECT: return Step::connect;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR: return Step::secure;
    default: break;
  }
  if (!passed(easy, CURLINFO_NAMELOOKUP_TIME_T)) return Step::resolve;
  if (!passed(easy, CURLINFO_CONNECT_TIME_T)) return Step::connect;
  if (secure && !passed(easy, CURLINFO_APPCONNECT_TIME_T)) return Step::secure;
  return Step::answer;
}

std::string_view text_at(CURL* easy, CURLINFO what) {
  const char* text = nullptr;
  return curl_easy_getinfo(easy, what, &text) == CURLE_OK && text != nullptr ? text : "";
}

// Who of a Hub says no does so in JSON, or in a header of its own.
bool is_of_a_hub(const Heard& heard) {
  return heard.headers.get("content-type").starts_with("application/json") || heard.headers.has("x-error-code") ||
         heard.headers.has("x-error-message");
}

bool is_page(const Heard& heard) {
  return heard.headers.get("content-type").starts_with("text/html") || trim(heard.body).starts_with("<");
}

void judge_token(const Heard& heard, Verdict verdict, EndpointProbe& probe) {
  using Token = EndpointProbe::Token;
  probe.token = Token::untold;
  if (verdict == Verdict::ok) {
    if (auto name = parse_user_name(heard.body)) {
      probe.token = Token::good;
      probe.user = std::move(*name);
    }
  } else if (heard.status == 401 || heard.status == 403) {
    probe.token = Token::bad;
  }
}

void judge_answer(const Heard& heard, bool with_token, EndpointProbe& probe) {
  if (heard.status >= 300 && heard.status < 400)
    probe.why = fmt::format("it sends elsewhere (status {}), as the portal of a network does", heard.status);
  else if (heard.status == 407)
    probe.why = "the proxy wants a login (status 407); write it into the proxy's address";
  else if (heard.status >= 500)
    probe.why = fmt::format("it fails (status {})", heard.status);
  else if (!is_of_a_hub(heard) && is_page(heard))
    probe.why = fmt::format("a page for people came where a Hub has JSON (status {}): this is no Hub, or the portal of a "
                            "network answers in its place", heard.status);
  if (!probe.why.empty()) return;
  const Verdict verdict = judge(heard.status, heard.headers);
  if (verdict == Verdict::ok ? !parse_user_name(heard.body) : !is_of_a_hub(heard)) {
    probe.why = fmt::format("what came is not the answer of a Hub (status {})", heard.status);
    return;
  }
  probe.step = Step::done;
  if (with_token) judge_token(heard, verdict, probe);
}

}  // namespace
}  // namespace hub

EndpointProbe probe_endpoint(const ProbeOptions& options) {
  using namespace hub;
  EndpointProbe probe;
  const auto refuse = [&](const Error& error) {
    probe.why = error.message;
    return probe;
  };
  auto url = parse_url(options.endpoint);
  if (!url) return refuse(url.error());
  while (url->path.ends_with('/')) url->path.pop_back();
  url->path += kWhoAmI;
  if (auto ready = start_curl(); !ready) return refuse(ready.error());
  const auto settings = read_transport_settings({.ca_bundle = options.ca_bundle,
                                                 .proxy = options.proxy,
                                                 .user_agent = options.user_agent});
  if (!settings) return refuse(settings.error());
  if (const auto proxy = settings->proxies.of(*url); !proxy.empty())
    probe.via = without_user(proxy);

  const EasyHandle easy(curl_easy_init());
  if (!easy) return refuse({Code::unsupported, "libcurl does not start", {}});
  const HttpRequest request{.url = *url, .token = options.token, .fresh_connection = true};
  const HeaderList headers = configure(easy.get(), *settings, request);
  Heard heard;
  std::array<char, CURL_ERROR_SIZE> words{};
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(options.limit.count()));
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, words.data());
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, &hear_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, &heard);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &hear_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &heard);
  const CURLcode code = curl_easy_perform(easy.get());

  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  probe.status = heard.status = static_cast<int>(status);
  probe.address = text_at(easy.get(), CURLINFO_PRIMARY_IP);
  if (const auto date = ::curl_getdate(std::string(heard.headers.get("date")).c_str(), nullptr); date > 0) probe.date = date;
  // A page that is longer than it need be was cut by us.
  const bool heard_enough = code == CURLE_OK || (code == CURLE_WRITE_ERROR && status != 0);
  probe.step = heard_enough ? Step::answer : step_of(easy.get(), code, url->scheme == "https");
  if (!heard_enough)
    probe.why = words[0] != '\0' ? words.data() : curl_easy_strerror(code);
  else
    judge_answer(heard, !options.token.empty(), probe);
  return probe;
}

}  // namespace hffs
