// SPDX-License-Identifier: Apache-2.0
// Metadata calls on a scripted server: what is sent, what is believed.
#include "hub_fixture.h"

#include <future>

namespace hffs {
namespace {

using namespace test;

// Asks for as many repos as there are answers, all at once, so that the waits between tries pass
// but once; the server tells them apart by their names.
class ManyAnswersTest : public HubTest {
 protected:
  using Answer = std::function<HttpReply(const HttpRequest&)>;

  std::vector<Result<RepoInfo>> ask(std::vector<Answer> answers) {
    const std::size_t count = answers.size();
    server.script([answers = std::move(answers)](const HttpRequest& request) {
      const std::string mark = "/case";
      return answers.at(std::stoul(request.target.substr(request.target.find(mark) + mark.size())))(
          request);
    });
    std::vector<std::future<Result<RepoInfo>>> asked;
    for (std::size_t i = 0; i < count; ++i)
      asked.push_back(std::async(std::launch::async, [this, i] {
        return revision("main", repo("acme/case" + std::to_string(i)));
      }));
    std::vector<Result<RepoInfo>> results;
    for (auto& each : asked) results.push_back(each.get());
    return results;
  }
};

TEST_F(HubTest, RevisionSendsAndReadsWhatTheHubSpeaks) {
  open([](OriginOptions& options) {
    options.token = Secret("hf_secret");
    options.user_agent = "hffs/9";
  });
  server.script([](const HttpRequest&) { return reply(200, {}, info_json(kCommit, "acme/new")); });
  const auto info = revision("refs/pr/1");
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->id.text(), "acme/new");
  EXPECT_EQ(info->commit->hex(), kCommit);
  EXPECT_EQ(info->last_modified.time_since_epoch().count(), 1'709'288'430);
  const auto sent = server.requests();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].target.substr(0, sent[0].target.find('?')),
            "/api/models/acme/tiny/revision/refs%2Fpr%2F1");
  EXPECT_EQ(sent[0].header("authorization"), "Bearer hf_secret");
  EXPECT_EQ(sent[0].header("user-agent"), "hffs/9");
  EXPECT_EQ(count(Metric::api_requests), 1);
}

TEST_F(HubTest, AnonymousCallsCarryNoAuthorization) {
  open();
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  ASSERT_TRUE(revision());
  EXPECT_EQ(server.requests().at(0).header("authorization"), "");
}

TEST_F(HubTest, MissingRevisionIsNotMissingRepository) {
  open();
  server.script([](const HttpRequest&) {
    return reply(404, {{"X-Error-Code", "RevisionNotFound"}});
  });
  auto info = revision();
  ASSERT_TRUE(info);
  EXPECT_FALSE(info->commit);
  server.script([](const HttpRequest&) { return reply(404, {{"X-Error-Code", "EntryNotFound"}}); });
  info = revision();
  ASSERT_TRUE(info) << "some Hubs call a missing branch an entry";
  EXPECT_FALSE(info->commit);
  server.script([](const HttpRequest&) { return reply(401, {{"X-Error-Code", "RepoNotFound"}}); });
  EXPECT_EQ(revision().error().code, Code::not_found);
}

TEST_F(HubTest, EndpointsWithoutExpandAreAskedPlainly) {
  open();
  server.script([](const HttpRequest& request) {
    return request.target.find('?') == std::string::npos ? reply(200, {}, info_json()) : reply(400);
  });
  EXPECT_TRUE(revision());
  EXPECT_EQ(server.requests().size(), 2u);
  EXPECT_TRUE(revision());
  EXPECT_EQ(server.requests().size(), 3u) << "that it knows no expand is remembered";
  server.script([](const HttpRequest&) { return reply(400); });
  EXPECT_EQ(revision().error().code, Code::unreachable) << "nothing to remember of the name";
}

TEST_F(HubTest, BadNamesSendNothing) {
  open();
  EXPECT_EQ(revision("a//b").error().code, Code::invalid);
  EXPECT_EQ(tree("17 /api/models/other/tree/x").error().code, Code::invalid);
  EXPECT_TRUE(paths({"../x", "/etc"})->empty());
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HubTest, OfflineSendsNothing) {
  open([](OriginOptions& options) { options.offline = true; });
  EXPECT_EQ(revision().error().code, Code::offline);
  EXPECT_EQ(tree().error().code, Code::offline);
  EXPECT_EQ(paths({"a"}).error().code, Code::offline);
  EXPECT_EQ(refs().error().code, Code::offline);
  const auto sink = std::make_shared<Heard>();
  fetch(sink, {0, 5}, 10);
  EXPECT_EQ(sink->end(), Code::offline);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HubTest, TreePagesFollowTheLinkBelowTheEndpoint) {
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([](const HttpRequest& request) {
    if (request.target.find("cursor=two%3D") != std::string::npos)
      return reply(200, {{"RateLimit", "\"api\";r=7;t=55"}}, "[" + file_json("b.txt") + "]");
    return reply(
        200,
        {{"Link", "<https://huggingface.co/api/models/acme/tiny/tree/" + kCommit +
                      "?recursive=true&cursor=two%3D>; rel=\"next\""}},
        "[" + file_json("a.txt") + R"(,{"type":"directory","path":"d","oid":"x","size":0}])");
  });
  const auto first = tree();
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_TRUE(first->next);
  EXPECT_EQ(first->entries.size(), 2u);
  EXPECT_FALSE(first->calls_left);
  const auto second = tree(*first->next);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_FALSE(second->next);
  EXPECT_EQ(second->calls_left, 7u);
  EXPECT_EQ(second->entries.at(0).path, "b.txt");
  EXPECT_EQ(server.requests().at(1).header("authorization"), "Bearer hf_secret");
}

TEST_F(HubTest, RepeatedCursorEndsTheListing) {
  open();
  server.script([](const HttpRequest&) {
    return reply(200,
                 {{"Link", "</api/models/acme/tiny/tree/" + kCommit + "?cursor=x>; rel=\"next\""}},
                 "[" + file_json("a.txt") + "]");
  });
  const auto first = tree();
  ASSERT_TRUE(first && first->next);
  EXPECT_FALSE(tree(*first->next)->next);
}

TEST_F(HubTest, NextPageOfAnotherListingIsAnError) {
  open([](OriginOptions& options) {
    options.metadata_deadline = std::chrono::milliseconds(900);  // no time for a third try
  });
  for (const std::string link : {"<nonsense>", "</api/models/a/b/tree/main?cursor=x>",
                                 "<http://169.254.1.1/>", "<file:///etc/passwd>"}) {
    server.script([link](const HttpRequest&) {
      return reply(200, {{"Link", link + "; rel=\"next\""}}, "[" + file_json("a.txt") + "]");
    });
    const auto page = tree();
    EXPECT_FALSE(page) << link << ": a listing may not be short";
  }
}

TEST_F(HubTest, RedirectToATrailingSlashKeepsQueryAndToken) {
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([&](const HttpRequest& request) {
    if (request.target.find("/?") == std::string::npos)
      return reply(307, {{"Location", server.url("/api/models/acme/tiny/tree/" + kCommit +
                                                 "/?recursive=true&expand=false")}});
    return reply(200, {}, "[" + file_json("a.txt") + "]");
  });
  ASSERT_TRUE(tree());
  EXPECT_EQ(server.requests().at(1).header("authorization"), "Bearer hf_secret");
}

TEST_F(HubTest, PathsAreAskedAsAForm) {
  open();
  server.script(
      [](const HttpRequest&) { return reply(200, {}, "[" + file_json("z space & +%.txt") + "]"); });
  const auto found = paths({"z space & +%.txt", "nope"});
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 1u);
  const auto sent = server.requests().at(0);
  EXPECT_EQ(sent.method, "POST");
  EXPECT_EQ(sent.target, "/api/models/acme/tiny/paths-info/" + kCommit);
  EXPECT_EQ(sent.header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(sent.body, "paths=z%20space%20%26%20%2B%25.txt&paths=nope&expand=false");
}

TEST_F(HubTest, PostSurvivesTheRedirectOfARename) {
  open();
  server.script([](const HttpRequest& request) {
    if (request.target.find("/tiny/") != std::string::npos)
      return reply(307, {{"Location", "/api/models/acme/new/paths-info/" + kCommit}});
    return request.method == "POST" && request.body.starts_with("paths=a")
               ? reply(200, {}, "[" + file_json("a") + "]")
               : reply(400);
  });
  EXPECT_EQ(paths({"a"})->size(), 1u);
}

class HubWithoutPathsInfo : public HubTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Statuses, HubWithoutPathsInfo, ::testing::Values(404, 405, 422, 501));

TEST_P(HubWithoutPathsInfo, HeadsAnswerInstead) {
  open();
  server.script([](const HttpRequest& request) {
    if (request.method == "POST") return reply(GetParam());
    if (request.target.find("/tree/" + kCommit + "/sub?") != std::string::npos)
      return reply(200, {}, "[" + file_json("sub/file") + "]");
    if (request.target.ends_with("/none") || request.target.ends_with("/sub") ||
        request.method == "GET")
      return reply(404, {{"X-Error-Code", "EntryNotFound"}});
    if (request.target.ends_with("/small"))
      return reply(307,
                   {{"Location", "/api/resolve-cache/models/acme/tiny/x/small?q=1"},
                    {"X-Repo-Commit", kCommit}},
                   "a redirect's own body");
    if (request.target.ends_with("?q=1"))
      return reply(200, {{"ETag", "W/\"" + kSha1 + "\""}}, std::string(77, 'x'));
    return reply(302,
                 {{"Location", "http://127.0.0.1:9/signed?Signature=s"},
                  {"X-Repo-Commit", kCommit},
                  {"X-Linked-Etag", '"' + kSha256 + '"'},
                  {"X-Linked-Size", "5000"}},
                 "elsewhere");
  });
  const auto found = paths({"small", "none", "large", "sub"});
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ(found->at(2).path, "sub");
  EXPECT_EQ(found->at(2).kind, TreeEntry::Kind::directory);
  EXPECT_EQ(found->at(0).path, "small");
  EXPECT_EQ(found->at(0).size, 77u);
  EXPECT_EQ(found->at(0).blob->hex(), kSha1);
  EXPECT_EQ(found->at(1).size, 5000u);
  EXPECT_EQ(found->at(1).blob->hex(), kSha256);
  server.clear_requests();
  EXPECT_EQ(paths({"large"})->size(), 1u);
  EXPECT_EQ(server.requests().at(0).method, "HEAD") << "that it lacks the call is remembered";
}

TEST_F(HubTest, HeadThatIsNoHubIsNotBelieved) {
  open();
  server.script([](const HttpRequest& request) {
    if (request.method == "POST") return reply(404);
    return reply(200, {{"ETag", kSha1}}, "portal");
  });
  EXPECT_EQ(paths({"a"}).error().code, Code::unreachable);
}

TEST_F(HubTest, RefsOfAllKinds) {
  open();
  server.script([](const HttpRequest&) {
    const std::string to = R"(","targetCommit":")" + kCommit + "\"}";
    return reply(200, {},
                 R"({"branches":[{"name":"main","ref":"refs/heads/main)" + to +
                     R"(],"tags":[{"name":"v1","ref":"refs/tags/v1)" + to +
                     R"(],"converts":[{"name":"parquet","ref":"refs/convert/parquet)" + to +
                     R"(],"pullRequests":[{"name":"x","ref":"refs/pr/1)" + to +
                     R"(,{"name":"x","ref":"../evil)" + to + "]}");
  });
  const auto list = refs();
  ASSERT_TRUE(list) << list.error().message;
  std::vector<std::string> names;
  for (const auto& each : list->refs) names.push_back(each.revision);
  EXPECT_EQ(names, (std::vector<std::string>{"main", "v1", "refs/convert/parquet", "refs/pr/1"}));
}

// --- tokens and redirects

TEST_F(HubTest, TokenStaysAtTheEndpoint) {
  HttpServer other([](const HttpRequest&) { return reply(200, {}, info_json()); });
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([&](const HttpRequest& request) {
    return reply(307, {{"Location", other.url(request.target)}});
  });
  ASSERT_TRUE(revision()) << "another port is another origin, and may answer";
  EXPECT_EQ(server.requests().at(0).header("authorization"), "Bearer hf_secret");
  EXPECT_EQ(other.requests().at(0).header("authorization"), "");
}

TEST_F(HubTest, TokenDoesNotReturnWithADetour) {
  HttpServer other([&](const HttpRequest& request) {
    return reply(307, {{"Location", server.url(request.target + "&back=1")}});
  });
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([&](const HttpRequest& request) {
    if (request.target.ends_with("back=1")) return reply(200, {}, info_json());
    return reply(307, {{"Location", other.url(request.target)}});
  });
  ASSERT_TRUE(revision());
  EXPECT_EQ(server.requests().at(1).header("authorization"), "");
}

TEST_F(ManyAnswersTest, RedirectsThatLeadNowhere) {
  open();
  const std::vector<std::string> locations = {
      "", "//", "gopher://x/", "file:///etc/passwd", "http://user:word@127.0.0.1/x", "SELF"};
  std::vector<Answer> answers;
  for (const std::string& location : locations)
    answers.push_back([location](const HttpRequest& request) {
      return reply(307, {{"Location", location == "SELF" ? request.target : location}});
    });
  const auto infos = ask(answers);
  for (std::size_t i = 0; i < locations.size(); ++i) {
    ASSERT_FALSE(infos[i]) << locations[i];
    EXPECT_EQ(infos[i].error().code, Code::unreachable) << locations[i];
    EXPECT_EQ(infos[i].error().message.find("word"), std::string::npos);
  }
}

TEST_F(HubTest, MoreThanTwentyRedirectsEnd) {
  open();
  std::atomic<int> number = 0;
  server.script([&](const HttpRequest&) {
    return reply(307, {{"Location", "/next/" + std::to_string(++number)}});
  });
  EXPECT_EQ(revision().error().code, Code::unreachable);
  EXPECT_LE(number, 3 * 21);
}

TEST_F(HubTest, MirrorsThatNameTheHubAreAskedThemselves) {
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([](const HttpRequest& request) {
    if (request.target.find("/tiny/") != std::string::npos)
      return reply(307, {{"Location", "https://huggingface.co/api/models/acme/new/revision/main"}});
    return reply(200, {}, info_json(kCommit, "acme/new"));
  });
  const auto info = revision();
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(server.requests().at(1).target, "/api/models/acme/new/revision/main");
  EXPECT_EQ(server.requests().at(1).header("authorization"), "Bearer hf_secret");
}

// --- answers that are none

TEST_F(ManyAnswersTest, NonsenseIsAnError) {
  open();
  const std::vector<std::string> bodies = {
      "<html>portal</html>", R"({"sha": "tru)", "", "null", "[]", "{}", "7", "\"x\"",
      std::string(100'000, '['), R"({"id": 7, "sha": 7})", R"({"id":"../../x","sha":"../../x"})",
      info_json(kCommit, "../../x"), info_json(std::string(40, 'A')),
      R"({"id":"acme/x","sha":null})"};
  std::vector<Answer> answers;
  for (const std::string& body : bodies)
    answers.push_back([body](const HttpRequest&) { return reply(200, {}, body); });
  const auto infos = ask(answers);
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    ASSERT_FALSE(infos[i]) << bodies[i].substr(0, 60);
    EXPECT_EQ(infos[i].error().code, Code::unreachable) << bodies[i].substr(0, 60);
  }
  EXPECT_EQ(count(Metric::requests_failed), static_cast<int>(bodies.size()));
}

TEST_F(HubTest, OneNonsenseAnswerIsAskedAgain) {
  open();
  std::atomic<int> number = 0;
  server.script([&](const HttpRequest&) {
    return number++ == 0 ? reply(200, {}, "<html>") : reply(200, {}, info_json());
  });
  EXPECT_TRUE(revision());
  EXPECT_EQ(count(Metric::requests_retried), 1);
}

TEST_F(HubTest, GzippedAnswersAreRead) {
  open();
  server.script([](const HttpRequest& request) {
    EXPECT_NE(request.header("accept-encoding").find("gzip"), std::string::npos);
    return reply(200, {}, info_json());
  });
  EXPECT_TRUE(revision());
}

TEST_F(HubTest, BodyWithoutEndIsCutOff) {
  // By its size: a sanitizer on a busy machine may take longer over it than people would wait.
  open([](OriginOptions& options) { options.metadata_deadline = std::chrono::minutes(1); });
  server.script([](const HttpRequest&) {
    HttpReply answer = reply(200, {{"Content-Length", "99999999999"}});
    answer.bytes += std::string(std::size_t{66} << 20, ' ');
    answer.end = HttpReply::End::hang;
    return answer;
  });
  const auto info = revision();
  ASSERT_FALSE(info);
  EXPECT_NE(info.error().message.find("too large"), std::string::npos) << info.error().message;
}

TEST_F(HubTest, ConnectionsAreKept) {
  open();
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(revision());
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(HubTest, ConnectionsAreAtMostSoMany) {
  open([](OriginOptions& options) { options.connections = 4; });
  server.script([](const HttpRequest&) {
    HttpReply answer = reply(200, {}, info_json());
    answer.delay = std::chrono::milliseconds(20);
    return answer;
  });
  std::atomic<int> left = 40;
  for (int i = 0; i < 40; ++i)
    hub->fetch_revision(repo(), "main", [&](Result<RepoInfo> info) {
      EXPECT_TRUE(info);
      --left;
    });
  for (int i = 0; i < 500 && left > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(left, 0);
  EXPECT_LE(server.most_open(), 4u);
}

TEST(OpenHub, RefusesWhatIsNoEndpoint) {
  Metrics metrics;
  for (const std::string url : {"", "huggingface.co", "ftp://x", "file:///x", "https://",
                                "https://u:secret@h", "https://h/?q=1"}) {
    const auto opened = open_hub({.endpoints = {url}}, system_clock(), metrics);
    ASSERT_FALSE(opened) << url;
    EXPECT_EQ(opened.error().code, Code::invalid) << url;
    EXPECT_EQ(opened.error().message.find("secret"), std::string::npos);
  }
  EXPECT_FALSE(open_hub({.endpoints = {}}, system_clock(), metrics));
  EXPECT_EQ(open_hub({.ca_bundle = "/nonexistent"}, system_clock(), metrics).error().code,
            Code::invalid);
}

}  // namespace
}  // namespace hffs
