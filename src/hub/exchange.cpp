// SPDX-License-Identifier: Apache-2.0
#include "exchange.h"

namespace hffs::hub {
namespace {

constexpr std::size_t kMostHeaderBytes = 256 * 1024;

// "HTTP/1.1 206 Partial Content" → 206.
int status_of(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == line.npos) return 0;
  const auto status = parse_number(trim(line.substr(space)).substr(0, 3));
  return status ? static_cast<int>(*status) : 0;
}

}  // namespace

bool Exchange::prepare(const TransportSettings& settings) {
  guard_.emplace(request.sent_from, request.url, !settings.proxies.of(request.url).empty());
  if (!guard_->admits_host()) return false;
  easy.reset(curl_easy_init());
  if (!easy) return false;
  header_list_ = configure(easy.get(), settings, request);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, &Exchange::header_callback);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &Exchange::body_callback);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, this);
  guard_->watch(easy.get());
  touch();
  return true;
}

std::string Exchange::why(CURLcode code) const {
  if (code == CURLE_PEER_FAILED_VERIFICATION)
    return "its certificate is not trusted; behind a private CA, name its bundle in ca_bundle or "
           "REQUESTS_CA_BUNDLE";
  // libcurl has limits of its own for a line, and calls it that.
  curl_off_t first_byte = 0;
  if (code == CURLE_OUT_OF_MEMORY && easy && !answered_)
    curl_easy_getinfo(easy.get(), CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
  if (header_bytes_ > kMostHeaderBytes || first_byte > 0)
    return "the headers of its answer are too large";
  return curl_easy_strerror(code);
}

Ending Exchange::ending(CURLcode code) const {
  Ending ending{.complete = code == CURLE_OK,
                .silent = code == CURLE_OPERATION_TIMEDOUT,
                .stopped = stopped,
                .why = why(code)};
  if (!guard_) return ending;
  ending.peer = guard_->peer(easy.get());
  const std::string refusal = guard_->refusal();
  ending.refused = !ending.complete && !refusal.empty();
  if (ending.refused) ending.why = refusal;
  return ending;
}

std::size_t Exchange::header_callback(char* data, std::size_t size, std::size_t count, void* self) {
  try {
    const bool taken = static_cast<Exchange*>(self)->take_header({data, size * count});
    return taken ? size * count : 0;
  } catch (...) {
    return 0;
  }
}

std::size_t Exchange::body_callback(char* data, std::size_t size, std::size_t count, void* self) {
  try {
    return static_cast<Exchange*>(self)->take_body(std::as_bytes(std::span(data, size * count)));
  } catch (...) {
    return 0;
  }
}

bool Exchange::take_header(std::string_view line) {
  if (stopped || !listener) return false;
  header_bytes_ += line.size();
  if (header_bytes_ > kMostHeaderBytes) return false;
  if (line.starts_with("HTTP/")) {
    headers_.clear();
    status_ = status_of(line);
    return true;
  }
  if (trim(line).empty()) {
    // All of them at once, or a header now and then would hold the connection for days.
    touch();
    // 1xx answers come before the real one. Trailers after a body bring no status.
    answered_ = status_ >= 200;
    if (answered_) listener->on_headers(status_, headers_);
    status_ = 0;
    return true;
  }
  const std::size_t colon = line.find(':');
  if (colon != line.npos) headers_.add(trim(line.substr(0, colon)), line.substr(colon + 1));
  return true;
}

std::size_t Exchange::take_body(std::span<const std::byte> bytes) {
  touch();
  if (stopped || !listener) return 0;
  switch (listener->on_body(bytes)) {
    case Flow::more: return bytes.size();
    case Flow::pause: paused = true; return CURL_WRITEFUNC_PAUSE;
    case Flow::stop: break;
  }
  stopped = true;
  return 0;
}

}  // namespace hffs::hub
