// SPDX-License-Identifier: Apache-2.0
//
// Headers of the Hub's answers. An input: a line with the status and switches ("302 h": from the endpoint itself,
// "c": a hop before named the commit), then header lines. What they mean is asked for as a metadata call, a HEAD and a
// range GET ask.
#include <charconv>

#include "content_check.h"
#include "fuzz.h"
#include "head_answer.h"
#include "paths.h"
#include "redirects.h"
#include "signed_urls.h"

using namespace hffs;
using namespace hffs::hub;

FUZZ_QUIET()

namespace {

const std::string kEndpoints[] = {"https://huggingface.co", "https://mirror.example/hf/", "http://127.0.0.1:8080"};

const FileSource& source() {
  static const FileSource file{.repo = *RepoId::parse_user("acme/tiny"),
                               .commit = *CommitId::parse(std::string(40, 'a')),
                               .path = "big.bin",
                               .blob = *BlobId::parse(std::string(64, 'b')),
                               .size = 3'000'000};
  return file;
}

bool is_sound(const Url& url) {
  return (url.scheme == "http" || url.scheme == "https") && !url.host.empty() && url.port > 0 && url.port < 65'536 &&
         url.path.starts_with('/') && url.text().find_first_of(std::string_view(" \r\n\0", 4)) == std::string::npos;
}

// What was taken apart is the same when it is put together again.
void check_round_trip(const Url& url) {
  MUST(is_sound(url));
  const auto again = parse_url(url.text());
  MUST(again.has_value());
  MUST(again->text() == url.text() && same_origin(*again, url));
  MUST(url.query.empty() || url.shown().find('?') == std::string::npos);
}

// The token's way: once it has left its endpoint's origin it is never at home again.
void check_journey(const std::string& endpoint, const Headers& headers, std::string_view second) {
  const Url from = *parse_url(endpoint);
  Journey journey(from, *parse_url(endpoint + (endpoint.ends_with('/') ? "" : "/") + "acme/tiny/resolve/main/big.bin"));
  bool home = journey.at_home();
  for (int hop = 0; hop < 25; ++hop) {
    Headers next;
    next.add("location", hop % 2 == 0 ? headers.get("location") : second);
    const bool secure = journey.here().scheme == "https";
    if (!journey.follow(next)) break;
    MUST(hop < 20);
    check_round_trip(journey.here());
    MUST(home || !journey.at_home());
    home = journey.at_home();
    MUST(!home || same_origin(from, journey.here()));
    MUST(!secure || journey.here().scheme == "https");
  }
}

void check_link(const std::string& endpoint, const Headers& headers) {
  const auto link = find_next_link(headers.get("link"));
  if (!link) return;
  const Url base = *parse_url(endpoint);
  const auto path = next_page_path(base, base, *link, source().commit);
  if (!path) return;
  // It is a listing of this commit, below the endpoint.
  MUST(path->starts_with('/') && path->find(source().commit.hex()) != std::string::npos);
  MUST((path->substr(0, path->find('?')) + '/').find("/../") == std::string::npos);
  const auto cursor = read_cursor(write_cursor({3, *path}), source().commit);
  MUST(cursor && cursor->pages == 3 && cursor->path == *path);
}

void check_values(const Headers& headers) {
  MUST(asked_wait(headers).count() >= 0 && asked_wait(headers) <= std::chrono::seconds(3'601));
  if (const auto range = parse_content_range(headers.get("content-range")); range && !range->unsatisfied)
    MUST(range->first <= range->last && (!range->total || range->last < *range->total));
  if (const auto number = parse_number(headers.get("x-linked-size")))
    MUST(parse_number(std::to_string(*number)) == number);
  const std::string etag = normal_etag(headers.get("etag"));
  if (const auto blob = BlobId::parse(etag)) MUST(normal_etag("W/\"" + blob->hex() + '"') == blob->hex());
}

void check_cursor(std::string_view text) {
  const auto cursor = read_cursor(text, source().commit);
  if (!cursor) return;
  MUST(cursor->pages >= 0 && cursor->pages <= kMostPages);
  MUST(cursor->path.find(source().commit.hex()) != std::string::npos);
  const auto again = read_cursor(write_cursor(*cursor), source().commit);
  MUST(again && again->pages == cursor->pages && again->path == cursor->path);
}

void check_content(int status, const Headers& headers, bool at_home, bool commit_seen) {
  const ByteRange asked{1'000'000, 500'000};
  const auto verdict = hub::check_content(source(), asked, {status, headers, at_home, commit_seen});
  if (verdict.kind == ContentVerdict::Kind::accept) {
    MUST(status == 200 || status == 206);
    MUST(at_home || commit_seen || headers.has("x-repo-commit"));
    // It holds the first byte that was asked for, and lies in the file.
    MUST(verdict.delivered.offset <= asked.offset && verdict.delivered.end() > asked.offset);
    MUST(verdict.delivered.end() <= source().size);
  }
  if (verdict.kind == ContentVerdict::Kind::redirect) MUST(is_redirect(status));
  if (verdict.kind == ContentVerdict::Kind::refused) MUST(!verdict.error.message.empty());
}

}  // namespace

FUZZ_TARGET(input) {
  const auto first = input.line();
  int status = 200;
  std::from_chars(first.data(), first.data() + first.size(), status);
  const bool at_home = first.find('h') != first.npos, commit_seen = first.find('c') != first.npos;
  Headers headers;
  std::string last;
  while (!input.empty() && headers.size() < 100) {
    const auto line = input.line();
    const std::size_t colon = std::min(line.find(':'), line.size());
    last = trim(line.substr(std::min(colon + 1, line.size())));
    headers.add(line.substr(0, colon), line.substr(std::min(colon + 1, line.size())));
  }
  check_values(headers);
  check_content(status, headers, at_home, commit_seen);
  for (const auto& endpoint : kEndpoints) {
    check_journey(endpoint, headers, last);
    check_link(endpoint, headers);
  }
  check_cursor(headers.get("cursor"));
  if (const auto url = parse_url(headers.get("location"))) {
    check_round_trip(*url);
    const auto usable = usable_for(*url, WallTime(std::chrono::seconds(1'700'000'000)));
    MUST(usable <= std::chrono::minutes(50));
    (void)zone_of_host(url->host);
  }
  const Verdict verdict = judge(status, headers);
  MUST(verdict != Verdict::ok || (status >= 200 && status < 400));
  if (verdict != Verdict::ok) MUST(!refusal(verdict, status, headers, "it").message.empty());
  const Answer answer{.verdict = verdict, .status = status, .headers = headers, .trail = at_home ? headers : Headers(),
                      .at_home = at_home};
  if (const auto entry = read_head(answer, source().commit, source().path); entry && *entry)
    MUST((*entry)->path == source().path && (*entry)->blob && headers.get("x-repo-commit") == source().commit.hex());
}
