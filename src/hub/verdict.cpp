// SPDX-License-Identifier: Apache-2.0
#include "verdict.h"

namespace hffs::hub {
namespace {

// The Hub's message, as much of it as fits a log line, without what could forge one.
std::string shown_message(const Headers& headers) {
  std::string text(headers.get("x-error-message").substr(0, 200));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text.empty() ? text : fmt::format(": {}", text);
}

Code code_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::repo_missing:
    case Verdict::revision_missing:
    case Verdict::entry_missing:
    case Verdict::missing: return Code::not_found;
    case Verdict::needs_login: return Code::needs_login;
    case Verdict::denied: return Code::denied;
    case Verdict::bad_request: return Code::invalid;
    case Verdict::no_route: return Code::unsupported;
    case Verdict::rate_limited: return Code::rate_limited;
    case Verdict::ok:
    case Verdict::transient:
    case Verdict::nonsense: break;
  }
  return Code::unreachable;
}

std::string_view words_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::repo_missing: return "no such repository, or it is private";
    case Verdict::revision_missing: return "no such revision";
    case Verdict::entry_missing: return "no such file";
    case Verdict::missing: return "not found";
    case Verdict::needs_login: return "the endpoint wants another login";
    case Verdict::denied: return "access refused";
    case Verdict::bad_request: return "the endpoint finds the question wrong";
    case Verdict::no_route: return "the endpoint does not have this call";
    case Verdict::rate_limited: return "rate limit";
    case Verdict::ok:
    case Verdict::transient: return "the endpoint failed";
    case Verdict::nonsense: return "not the answer of a Hub";
  }
  return "the endpoint failed";
}

}  // namespace

Verdict judge(int status, const Headers& headers) {
  const std::string_view code = headers.get("x-error-code");
  const std::string_view message = headers.get("x-error-message");
  if (status == 200 || status == 206) return Verdict::ok;
  if (status == 429) return Verdict::rate_limited;
  if (status == 501 || status == 405 || status == 422) return Verdict::no_route;
  // 407: the proxy wants to be asked otherwise; no statement about the name.
  if (status == 408 || status == 407 || status >= 500) return Verdict::transient;
  if (status < 400) return Verdict::nonsense;
  if (code == "RepoNotFound") return Verdict::repo_missing;
  if (code == "GatedRepo") return status == 401 ? Verdict::needs_login : Verdict::denied;
  if (code == "RevisionNotFound") return Verdict::revision_missing;
  if (code == "EntryNotFound") return Verdict::entry_missing;
  switch (status) {
    case 400: return Verdict::bad_request;
    case 401:
      return message == "Invalid username or password." ? Verdict::repo_missing
                                                        : Verdict::needs_login;
    case 403:
    case 451: return Verdict::denied;
    case 404:
    case 410:
      return message.starts_with("Invalid rev id") ? Verdict::revision_missing : Verdict::missing;
    default: return Verdict::nonsense;
  }
}

Error refusal(Verdict verdict, int status, const Headers& headers, std::string_view what) {
  return {
      code_of(verdict),
      fmt::format("{}: {} (status {}{})", what, words_of(verdict), status, shown_message(headers)),
      verdict == Verdict::rate_limited || verdict == Verdict::transient
          ? asked_wait(headers)
          : std::chrono::milliseconds{0}};
}

}  // namespace hffs::hub
