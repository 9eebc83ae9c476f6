// SPDX-License-Identifier: Apache-2.0
//
// Url: an absolute http or https address, taken apart. Parsing and resolving follow libcurl's own
// URL parser, so that what is checked here is what is connected to. Threads: values, any thread.
#pragma once

#include <string>
#include <string_view>

#include "hffs/error.h"

namespace hffs::hub {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; IPv6 in brackets
  int port = 0;
  std::string path;   // begins with '/', percent-encoded
  std::string query;  // without the '?'; may hold a signature

  std::string origin() const;  // "https://host:port", the port only where it is not the scheme's
  std::string text() const;    // the whole; secret where the query is: never for a log
  std::string shown() const;   // origin and path: for logs and errors
};

// Refuses other schemes, user names and passwords in the address, and text without a host.
Result<Url> parse_url(std::string_view text);
// What `reference`, from a Location or Link header, means at `base`. A fragment is dropped.
Result<Url> resolve_url(const Url& base, std::string_view reference);

// Scheme, host and port are equal.
bool same_origin(const Url& a, const Url& b);
bool is_loopback(const Url& url);

// Percent-encodes all but unreserved characters; encode_path keeps '/'.
std::string encode_segment(std::string_view text);
std::string encode_path(std::string_view text);

// The value of a query argument, undecoded; empty where there is none.
std::string_view query_value(std::string_view query, std::string_view name);

}  // namespace hffs::hub
