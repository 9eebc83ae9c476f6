// SPDX-License-Identifier: Apache-2.0
#include "curl.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace hffs::hub {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool set_bundle(const std::string& path, TransportSettings& settings) {
  struct stat found {};
  if (::access(path.c_str(), R_OK) != 0 || ::stat(path.c_str(), &found) != 0) return false;
  (S_ISDIR(found.st_mode) ? settings.ca_directory : settings.ca_file) = path;
  return true;
}

void set_quick_exit([[maybe_unused]] CURL* easy) {
#if LIBCURL_VERSION_NUM >= 0x075700
  // A name server that does not answer must not hold up the network thread when a call ends.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

void set_protocols(CURL* easy) {
  // The library may be older than the header that this was built with.
  constexpr auto kOldOption = static_cast<CURLoption>(181);  // CURLOPT_PROTOCOLS, which newer headers warn of
  constexpr long kHttpAndHttps = (1 << 0) | (1 << 1);
#if LIBCURL_VERSION_NUM >= 0x075500
  if (curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK) return set_quick_exit(easy);
#endif
  curl_easy_setopt(easy, kOldOption, kHttpAndHttps);
  set_quick_exit(easy);
}

}  // namespace

Result<void> start_curl() {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK)
    return fail(Code::unsupported, "libcurl does not start: {}", curl_easy_strerror(ready));
  return {};
}

Result<TransportSettings> read_transport_settings(const OriginOptions& options) {
  // What the administrator has said goes before what a variable says.
  const auto said = [&](const char* name) {
    const bool exempts = std::string_view(name) == "no_proxy" || std::string_view(name) == "NO_PROXY";
    if (exempts) return options.proxy.exempt ? *options.proxy.exempt : variable(name);
    return options.proxy.address ? options.proxy.address->reveal() : variable(name);
  };
  TransportSettings settings{.proxies = read_proxies(said),
                             .user_agent = options.user_agent,
                             .connect_timeout = options.connect_timeout};
  if (!options.ca_bundle.empty() && !set_bundle(options.ca_bundle, settings))
    return fail(Code::invalid, "cannot read the CA bundle {}", options.ca_bundle);
  return settings;
}

HeaderList configure(CURL* easy, const TransportSettings& settings, const HttpRequest& request) {
  curl_easy_setopt(easy, CURLOPT_URL, request.url.text().c_str());
  set_protocols(easy);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  // Both are libcurl's defaults. Who may ask is what the token says, and nothing else.
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 60L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(settings.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, settings.user_agent.c_str());
  if (!settings.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, settings.ca_file.c_str());
  if (!settings.ca_directory.empty())
    curl_easy_setopt(easy, CURLOPT_CAPATH, settings.ca_directory.c_str());
  // Said for every request, so that libcurl asks no variable itself.
  curl_easy_setopt(easy, CURLOPT_PROXY, std::string(settings.proxies.of(request.url)).c_str());
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
  // The proxy that is asked to CONNECT is not who the token is for.
  curl_easy_setopt(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  if (request.fresh_connection) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  if (request.lane == Lane::content) {
    curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
  } else if (request.method != Method::head) {
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  }
  if (request.method == Method::head) curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  if (request.method == Method::post) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  curl_slist* list = nullptr;
  const auto add = [&](const std::string& line) {
    if (curl_slist* longer = curl_slist_append(list, line.c_str())) list = longer;
  };
  for (const std::string& line : request.headers) add(line);
  if (!request.token.empty()) add("Authorization: Bearer " + request.token.reveal());
  if (request.method == Method::post) add("Expect:");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  return HeaderList(list);
}

}  // namespace hffs::hub

namespace hffs {

std::vector<std::string> system_ca_bundles() {
  const auto* built = curl_version_info(CURLVERSION_NOW);
  std::vector<std::string> bundles;
  for (const char* each : {built->cainfo, built->capath})
    if (each != nullptr) bundles.emplace_back(each);
  return bundles;
}

}  // namespace hffs
