// SPDX-License-Identifier: Apache-2.0
// Addresses, headers, verdicts, redirects, paths: the hub module's small decisions, as tables.
#include <gtest/gtest.h>

#include "headers.h"
#include "paths.h"
#include "redirects.h"
#include "signed_urls.h"
#include "url.h"
#include "verdict.h"

namespace hffs::hub {
namespace {

Url url(const std::string& text) {
  auto parsed = parse_url(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Url{};
}

TEST(Url, Parts) {
  struct Case {
    std::string text, origin, path, query;
  };
  for (const auto& [text, origin, path, query] :
       std::vector<Case>{{"https://huggingface.co", "https://huggingface.co", "/", ""},
                         {"https://HuggingFace.co:443/a%2Fb?x=%22y%22", "https://huggingface.co",
                          "/a%2Fb", "x=%22y%22"},
                         {"http://h:8080/", "http://h:8080", "/", ""},
                         {"http://[::1]:99/x#frag", "http://[::1]:99", "/x", ""}}) {
    const Url parsed = url(text);
    EXPECT_EQ(parsed.origin(), origin);
    EXPECT_EQ(parsed.path, path);
    EXPECT_EQ(parsed.query, query);
  }
}

// Whoever reads the address next must see the same host.
TEST(Url, AHostMeansOneThing) {
  for (const char* text : {"http://%30x7f.1/", "http://%30177.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://%32130706433/"})
    if (const auto url = parse_url(text)) {
      EXPECT_EQ(url->host, "127.0.0.1") << text;
    }
  const auto name = parse_url("https://Hub%2Eexample/x");
  if (name) {
    EXPECT_EQ(name->host, "hub.example");
  }
}

TEST(Url, Refused) {
  for (const std::string text :
       {"", "x", "/x", "ftp://h/", "file:///x", "gopher://h", "http://", "//h", "http://u@h/",
        "http://u:p@h/", "http://h:99999/", "http://h:0/", "javascript:x"})
    EXPECT_FALSE(parse_url(text)) << text;
  EXPECT_FALSE(parse_url(std::string("http://h/\0x", 11)));
  EXPECT_FALSE(parse_url("http://h/" + std::string(20'000, 'x')));
}

TEST(Url, Resolved) {
  const Url base = url("https://h:1/a/b?q=1");
  EXPECT_EQ(resolve_url(base, "/x?y=%2F")->text(), "https://h:1/x?y=%2F");
  EXPECT_EQ(resolve_url(base, "c")->text(), "https://h:1/a/c");
  EXPECT_EQ(resolve_url(base, "//other/x")->text(), "https://other/x");
  EXPECT_EQ(resolve_url(base, "http://h:1/x")->text(), "http://h:1/x");
  EXPECT_EQ(resolve_url(base, "/a b")->text(), "https://h:1/a%20b");
  for (const std::string bad : {"", "//", "mailto:x", "http://u:p@h/", "file:///x"})
    EXPECT_FALSE(resolve_url(base, bad)) << bad;
}

TEST(Url, Origins) {
  EXPECT_TRUE(same_origin(url("https://h/a"), url("https://H:443/b")));
  EXPECT_FALSE(same_origin(url("https://h"), url("http://h")));
  EXPECT_FALSE(same_origin(url("https://h"), url("https://h:444")));
  EXPECT_FALSE(same_origin(url("https://h"), url("https://h.evil")));
  for (const std::string text :
       {"http://localhost", "http://127.0.0.1:9", "http://127.9.9.9", "http://[::1]"})
    EXPECT_TRUE(is_loopback(url(text))) << text;
  for (const std::string text : {"http://127.evil.org", "http://10.0.0.1", "http://localhost.evil"})
    EXPECT_FALSE(is_loopback(url(text))) << text;
}

TEST(Url, Encoding) {
  EXPECT_EQ(encode_segment("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(encode_path("a b/c#?%+ä"), "a%20b/c%23%3F%25%2B%C3%A4");
  EXPECT_EQ(query_value("a=1&Expires=5&b", "Expires"), "5");
  EXPECT_EQ(query_value("XExpires=5", "Expires"), "");
}

TEST(Headers, FirstOfANameWins) {
  Headers headers;
  headers.add("ETag", " one \r\n");
  headers.add("etag", "two");
  EXPECT_EQ(headers.get("etag"), "one");
  EXPECT_FALSE(headers.has("x"));
}

TEST(Headers, ContentRange) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5u);
  EXPECT_EQ(range->last, 9u);
  EXPECT_EQ(range->total, 10u);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total);
  EXPECT_TRUE(parse_content_range("bytes */10")->unsatisfied);
  for (const std::string bad : {"", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes 5-10/10",
                                "bytes a-b/c", "items 0-1/2", "bytes -5-9/10", "bytes 5-/10",
                                "bytes 5-9/", "bytes 99999999999999999999-99999999999999999999/9"})
    EXPECT_FALSE(parse_content_range(bad)) << bad;
}

TEST(Headers, NextLink) {
  EXPECT_EQ(find_next_link("<https://h/x?a=1>; rel=\"next\""), "https://h/x?a=1");
  EXPECT_EQ(find_next_link("<a>; rel=\"xet-auth\", <b>; foo=\"x,y\"; rel=next"), "b");
  for (const std::string none :
       {"", "<x", "x>; rel=\"next\"", "<a>; rel=\"prev\"", "<a>", "rel=\"next\""})
    EXPECT_FALSE(find_next_link(none)) << none;
  EXPECT_FALSE(find_next_link("<" + std::string(5'000, 'x')));
}

TEST(Headers, ETags) {
  for (const std::string text : {"abc", "\"abc\"", "W/\"abc\"", " \"abc\" "})
    EXPECT_EQ(normal_etag(text), "abc") << text;
  EXPECT_EQ(normal_etag("\""), "\"");
}

TEST(Headers, RateLimits) {
  EXPECT_EQ(parse_rate_limit("\"api\";r=12;t=55")->left, 12u);
  EXPECT_EQ(parse_rate_limit("\"api\";r=12;t=55, \"pages\";r=3;t=7")->reset.count(), 7);
  EXPECT_FALSE(parse_rate_limit("\"api\";t=55"));
  EXPECT_FALSE(parse_rate_limit("nonsense"));
}

TEST(Headers, AskedWait) {
  struct Case {
    const char* name;
    std::vector<std::pair<std::string, std::string>> headers;
    int milliseconds;
  };
  for (const auto& [name, list, expected] : std::vector<Case>{
           {"nothing said", {}, 0},
           {"window", {{"RateLimit", "\"api\";r=0;t=5"}}, 6'000},
           {"some left: not the cause", {{"RateLimit", "\"api\";r=3;t=5"}}, 0},
           {"some left, and retry-after",
            {{"RateLimit", "\"api\";r=3;t=5"}, {"Retry-After", "2"}},
            3'000},
           {"retry-after", {{"Retry-After", "7"}}, 8'000},
           {"a date is ignored", {{"Retry-After", "Wed, 21 Oct 2065 07:28:00 GMT"}}, 0},
           {"beyond its own window",
            {{"RateLimit", "\"api\";r=0;t=100000"},
             {"RateLimit-Policy", "\"fixed window\";\"api\";q=500;w=300"}},
            0},
           {"beyond an hour", {{"Retry-After", "100000"}}, 0},
           {"beyond everything", {{"Retry-After", "99999999999999999999"}}, 0},
           {"in its window",
            {{"RateLimit", "\"api\";r=0;t=200"},
             {"RateLimit-Policy", "\"fixed window\";\"api\";q=500;w=300"}},
            201'000}}) {
    Headers headers;
    for (const auto& [key, value] : list) headers.add(key, value);
    EXPECT_EQ(asked_wait(headers).count(), expected) << name;
  }
}

TEST(Verdict, Table) {
  struct Case {
    int status;
    std::string code, message;
    Verdict verdict;
  };
  for (const auto& [status, code, message, verdict] : std::vector<Case>{
           {200, "", "", Verdict::ok},
           {206, "", "", Verdict::ok},
           {204, "", "", Verdict::nonsense},
           {304, "", "", Verdict::nonsense},
           {302, "", "", Verdict::nonsense},
           {404, "RepoNotFound", "Repository not found", Verdict::repo_missing},
           {401, "RepoNotFound", "", Verdict::repo_missing},
           {401, "", "Invalid username or password.", Verdict::repo_missing},
           {401, "", "Invalid credentials in Authorization header", Verdict::needs_login},
           {401, "", "", Verdict::needs_login},
           {401, "GatedRepo", "", Verdict::needs_login},
           {403, "GatedRepo", "", Verdict::denied},
           {403, "", "Access to this resource is disabled.", Verdict::denied},
           {403, "", "", Verdict::denied},
           {451, "", "", Verdict::denied},
           {404, "RevisionNotFound", "", Verdict::revision_missing},
           {404, "", "Invalid rev id: x", Verdict::revision_missing},
           {404, "EntryNotFound", "", Verdict::entry_missing},
           {404, "", "", Verdict::missing},
           {410, "", "", Verdict::missing},
           {400, "", "", Verdict::bad_request},
           {405, "", "", Verdict::no_route},
           {422, "", "", Verdict::no_route},
           {501, "", "", Verdict::no_route},
           {408, "", "", Verdict::transient},
           {407, "", "", Verdict::transient},
           {500, "", "", Verdict::transient},
           {503, "RepoNotFound", "", Verdict::transient},
           {429, "RepoNotFound", "", Verdict::rate_limited},
           {418, "", "", Verdict::nonsense},
           {99, "", "", Verdict::nonsense}}) {
    Headers headers;
    if (!code.empty()) headers.add("X-Error-Code", code);
    if (!message.empty()) headers.add("X-Error-Message", message);
    EXPECT_EQ(judge(status, headers), verdict) << status << ' ' << code << ' ' << message;
  }
}

TEST(Verdict, MessagesCannotForgeALogLine) {
  Headers headers;
  headers.add("X-Error-Message", "a\x1b[31m" + std::string(500, 'x'));
  const Error error = refusal(Verdict::denied, 403, headers, "what");
  EXPECT_EQ(error.message.find('\x1b'), std::string::npos);
  EXPECT_LT(error.message.size(), 300u);
}

class JourneyTest : public ::testing::Test {
 protected:
  static Result<void> follow(Journey& journey, const std::string& location) {
    Headers headers;
    headers.add("Location", location);
    return journey.follow(headers);
  }
};

TEST_F(JourneyTest, HomeIsSchemeHostAndPort) {
  for (const std::string away : {"https://hub.org:444/x", "https://hub.org.evil/x",
                                 "https://evil/hub.org", "https://cdn.hub.org/x"}) {
    Journey journey(url("https://hub.org"), url("https://hub.org/a"));
    ASSERT_TRUE(journey.at_home());
    ASSERT_TRUE(follow(journey, away)) << away;
    EXPECT_FALSE(journey.at_home()) << away;
    ASSERT_TRUE(follow(journey, "https://hub.org/back"));
    EXPECT_FALSE(journey.at_home()) << "once away, always away";
  }
  Journey journey(url("https://hub.org"), url("https://hub.org/a"));
  ASSERT_TRUE(follow(journey, "/b?q=1"));
  ASSERT_TRUE(follow(journey, "https://HUB.org:443/c"));
  EXPECT_TRUE(journey.at_home());
  EXPECT_FALSE(Journey(url("https://hub.org"), url("https://cdn/x")).at_home());
}

TEST_F(JourneyTest, NoStepFromHttpsToHttp) {
  Journey secure(url("https://hub.org"), url("https://hub.org/a"));
  EXPECT_FALSE(follow(secure, "http://cdn/x"));
  EXPECT_FALSE(follow(secure, "http://hub.org/x"));
  Journey local(url("http://127.0.0.1:1"), url("https://cdn/x"));
  EXPECT_TRUE(follow(local, "http://127.0.0.1:2/y"));
  Journey lan(url("http://mirror.lan"), url("http://mirror.lan/x"));
  EXPECT_TRUE(follow(lan, "https://cdn/x"));
  EXPECT_FALSE(follow(lan, "http://cdn/x"));
}

TEST_F(JourneyTest, TheHubsNameBehindAMirrorIsTheMirror) {
  Journey journey(url("https://mirror.org/hf"), url("https://mirror.org/hf/a"));
  ASSERT_TRUE(follow(journey, "https://huggingface.co/b?q=1"));
  EXPECT_EQ(journey.here().text(), "https://mirror.org/hf/b?q=1");
  EXPECT_TRUE(journey.at_home());
  // It sends us away for what it does not have: without the token.
  ASSERT_TRUE(follow(journey, "https://huggingface.co/b?q=1"));
  EXPECT_EQ(journey.here().text(), "https://huggingface.co/b?q=1");
  EXPECT_FALSE(journey.at_home());
}

TEST_F(JourneyTest, LoopsAndLongWays) {
  Journey loop(url("http://h"), url("http://h/a"));
  ASSERT_TRUE(follow(loop, "/b"));
  EXPECT_FALSE(follow(loop, "/a"));
  Journey far(url("http://h"), url("http://h/0"));
  for (int i = 1; i <= 20; ++i) ASSERT_TRUE(follow(far, "/" + std::to_string(i)));
  EXPECT_FALSE(follow(far, "/21"));
}

TEST(Paths, OfEachType) {
  const auto path = [](const std::string& text) {
    return resolve_path(*RepoId::parse_user(text), "main", "a b/c#.txt");
  };
  EXPECT_EQ(path("acme/x"), "/acme/x/resolve/main/a%20b/c%23.txt");
  EXPECT_EQ(path("gpt2"), "/gpt2/resolve/main/a%20b/c%23.txt");
  EXPECT_EQ(path("datasets/acme/x"), "/datasets/acme/x/resolve/main/a%20b/c%23.txt");
  EXPECT_EQ(path("kernels/acme/x"), "/kernels/acme/x/resolve/main/a%20b/c%23.txt");
  EXPECT_EQ(revision_path(*RepoId::parse_user("spaces/a/b"), "refs/pr/1", false),
            "/api/spaces/a/b/revision/refs%2Fpr%2F1");
  EXPECT_EQ(paths_form({"a&b", "c"}), "paths=a%26b&paths=c&expand=false");
}

TEST(Paths, Cursors) {
  const CommitId commit = *CommitId::parse(std::string(40, 'c'));
  const std::string listing = "/api/models/a/b/tree/" + commit.hex();
  const Url here = url("https://h/hf" + listing);
  for (const std::string& link : {"https://h/hf" + listing + "?cursor=x%3D",
                                  "https://huggingface.co" + listing + "?cursor=x%3D",
                                  "http://10.0.0.1:8080" + listing + "/?cursor=x%3D"}) {
    const auto path = next_page_path(url("https://h/hf"), here, link, commit);
    EXPECT_TRUE(path) << link;
    EXPECT_NE(path->find("?cursor=x%3D"), std::string::npos);
    EXPECT_TRUE(path->starts_with("/api/")) << *path;
    const auto cursor = read_cursor(write_cursor({3, *path}), commit);
    ASSERT_TRUE(cursor);
    EXPECT_EQ(cursor->pages, 3);
    EXPECT_EQ(cursor->path, *path);
  }
  for (const std::string link :
       {"https://h/other", "x", "https://h/api/models/a/b/tree/main?cursor=x"})
    EXPECT_FALSE(next_page_path(url("https://h/hf"), here, link, commit)) << link;
  for (const std::string& text : std::vector<std::string>{"", "1", "x " + listing, "1 /etc/passwd",
                                                          "99999 " + listing, "-1 " + listing})
    EXPECT_FALSE(read_cursor(text, commit)) << text;
}

TEST(SignedUrls, UsableFor) {
  const WallTime now{std::chrono::seconds{1'700'000'000}};
  const auto use = [&](const std::string& query) {
    return usable_for(url("https://cdn/x?" + query), now).count();
  };
  EXPECT_EQ(use("Expires=1700003600&Signature=s"), 3'000);
  EXPECT_EQ(use("Expires=1700000100"), 40);
  EXPECT_EQ(use("Expires=1700000030"), 0);
  EXPECT_EQ(use("Expires=1"), 0);
  EXPECT_EQ(use("Expires=99999999999999999"), 3'000);
  EXPECT_EQ(use("X-Amz-Date=20231114T221320Z&X-Amz-Expires=600"), 540);
  EXPECT_EQ(use("X-Amz-Date=20231114T210000Z&X-Amz-Expires=600"), 0);
  EXPECT_EQ(use("a=1"), 3'000);
}

}  // namespace
}  // namespace hffs::hub
