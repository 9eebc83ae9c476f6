// SPDX-License-Identifier: Apache-2.0
//
// libcurl's handles with owners, and what every request is configured with: TLS, proxies, protocol.
// Threads: the network thread only, but for read_transport_settings().
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "address.h"
#include "hffs/hub.h"
#include "proxies.h"
#include "url.h"

namespace hffs::hub {

// Not lambdas: a type of a header needs one name everywhere.
struct EasyCleanup {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiCleanup {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListCleanup {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using EasyHandle = std::unique_ptr<CURL, EasyCleanup>;
using MultiHandle = std::unique_ptr<CURLM, MultiCleanup>;
using HeaderList = std::unique_ptr<curl_slist, ListCleanup>;

// libcurl's process-wide part; the first call sets it up.
Result<void> start_curl();

struct TransportSettings {
  std::string ca_file, ca_directory;  // empty: the system's
  Proxies proxies;
  std::string user_agent;
  std::chrono::milliseconds connect_timeout{5'000};
};
Result<TransportSettings> read_transport_settings(const OriginOptions& options);

enum class Method : std::uint8_t { get, head, post };

// What is content wants no compression, keeps its bytes as they come, and takes larger buffers.
enum class Lane : std::uint8_t { metadata, content };

struct HttpRequest {
  Method method = Method::get;
  Lane lane = Lane::metadata;
  Url url;
  std::vector<std::string> headers;
  Secret token;      // empty: no Authorization
  std::string body;  // of a POST: a form
  // Who sent us there, which bounds where it may lead; loopback: nobody did.
  Zone sent_from = Zone::loopback;
  bool fresh_connection = false;
  std::chrono::milliseconds stall_timeout{15'000};
};

// Sets all options but the callbacks. `request` must outlive the transfer; the list, too.
HeaderList configure(CURL* easy, const TransportSettings& settings, const HttpRequest& request);

}  // namespace hffs::hub
