// SPDX-License-Identifier: Apache-2.0
#include "url.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

namespace hffs::hub {
namespace {

// Longer addresses are nonsense; signed ones have about 1,500 bytes.
constexpr std::size_t kMostBytes = 16'384;

constexpr int kMostHostReads = 4;

using Parser = std::unique_ptr<CURLU, decltype([](CURLU* parser) { curl_url_cleanup(parser); })>;

std::string part(CURLU* parser, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(parser, which, &text, flags) != CURLUE_OK) return {};
  std::string result(text);
  curl_free(text);
  return result;
}

Result<Url> read_parts(CURLU* parser) {
  Url url;
  url.scheme = part(parser, CURLUPART_SCHEME);
  if (url.scheme != "http" && url.scheme != "https")
    return fail(Code::invalid, "an address that is neither http nor https");
  // libcurl decodes a host after it has put an IPv4 address into its usual form, and who reads the address
  // next sees another one: until it stays the same.
  std::string host = part(parser, CURLUPART_HOST);
  for (int times = 0; times < kMostHostReads && url.host != host; ++times) {
    url.host = host;
    const Parser again(curl_url());
    if (!again || curl_url_set(again.get(), CURLUPART_URL, fmt::format("{}://{}/", url.scheme, host).c_str(), 0) != CURLUE_OK)
      return fail(Code::invalid, "an address without a usable host");
    host = part(again.get(), CURLUPART_HOST);
  }
  if (url.host != host) return fail(Code::invalid, "an address whose host is never the same");
  std::transform(url.host.begin(), url.host.end(), url.host.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  const std::string port = part(parser, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (url.host.empty() || port.empty() || port.size() > 5)
    return fail(Code::invalid, "an address without a host");
  url.port = std::stoi(port);
  if (url.port == 0) return fail(Code::invalid, "an address whose port nobody can listen on");
  url.path = part(parser, CURLUPART_PATH);
  // A char: of a literal g++ 12 says, wrongly and only with sanitizers, that its copy may overlap.
  if (url.path.empty()) url.path = '/';
  url.query = part(parser, CURLUPART_QUERY);
  return url;
}

bool is_unreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string encode(std::string_view text, bool keep_slash) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size() + 16);
  for (const unsigned char c : text) {
    if (is_unreserved(c) || (keep_slash && c == '/')) {
      result += static_cast<char>(c);
    } else {
      result += '%';
      result += kHex[c >> 4];
      result += kHex[c & 15];
    }
  }
  return result;
}

}  // namespace

std::string Url::origin() const {
  const bool usual = port == (scheme == "https" ? 443 : 80);
  return usual ? fmt::format("{}://{}", scheme, host)
               : fmt::format("{}://{}:{}", scheme, host, port);
}

std::string Url::text() const {
  return query.empty() ? origin() + path : origin() + path + '?' + query;
}

std::string Url::shown() const {
  return origin() + path;
}

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kMostBytes || text.find('\0') != text.npos)
    return fail(Code::invalid, "not an address");
  const Parser parser(curl_url());
  if (!parser || curl_url_set(parser.get(), CURLUPART_URL, std::string(text).c_str(),
                              CURLU_DISALLOW_USER) != CURLUE_OK)
    return fail(Code::invalid, "not an http or https address");
  return read_parts(parser.get());
}

Result<Url> resolve_url(const Url& base, std::string_view reference) {
  if (reference.empty() || reference.size() > kMostBytes || reference.find('\0') != reference.npos)
    return fail(Code::invalid, "no address");
  const Parser parser(curl_url());
  if (!parser || curl_url_set(parser.get(), CURLUPART_URL, base.text().c_str(), 0) != CURLUE_OK)
    return fail(Code::invalid, "not an address");
  // Some servers leave spaces and UTF-8 in Location as they are.
  if (curl_url_set(parser.get(), CURLUPART_URL, std::string(reference).c_str(),
                   CURLU_DISALLOW_USER | CURLU_URLENCODE) != CURLUE_OK)
    return fail(Code::invalid, "not an http or https address");
  return read_parts(parser.get());
}

bool same_origin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

bool is_loopback(const Url& url) {
  return url.host == "localhost" || url.host == "[::1]" ||
         (url.host.starts_with("127.") &&
          url.host.find_first_not_of("0123456789.") == std::string::npos);
}

std::string encode_segment(std::string_view text) {
  return encode(text, false);
}
std::string encode_path(std::string_view text) {
  return encode(text, true);
}

std::string_view query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return pair.substr(name.size() + 1);
    query.remove_prefix(end == query.npos ? query.size() : end + 1);
  }
  return {};
}

}  // namespace hffs::hub
