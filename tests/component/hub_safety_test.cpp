// SPDX-License-Identifier: Apache-2.0
// What servers may try on a client: its time, its requests' lines, and where they send it. Where redirects of
// public Hubs may lead needs a network of its own: tests/mount/test_network_safety.py.
#include "hub_fixture.h"

namespace hffs {
namespace {

using namespace test;
using std::chrono::milliseconds;

TEST_F(HubTest, HeadersThatComeOneByOneEnd) {
  open([](OriginOptions& options) { options.stall_timeout = milliseconds(400); });
  server.script([](const HttpRequest&) {
    HttpHeaders many(200, {"X-More", "x"});
    HttpReply answer = reply(206, many, "01234");
    answer.between_lines = milliseconds(100);
    return answer;
  });
  const auto sink = std::make_shared<Heard>();
  EXPECT_LT(seconds_of([&] {
              fetch(sink, {0, 5}, 10);
              EXPECT_EQ(sink->end(), Code::timed_out);
            }),
            5);
}

TEST_F(HubTest, HeadersThatAreTooLargeAreCalledSo) {
  const HttpReply many = reply(200, HttpHeaders(100, {"X-More", std::string(4'000, 'x')}));
  const HttpReply long_line = reply(200, {{"X-More", std::string(400'000, 'x')}});
  HttpReply interims{""};
  while (interims.bytes.size() < 400'000) interims.bytes += "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
  for (const HttpReply& answer : {many, long_line, interims, HttpReply{"HTTP/1.1 200 " + std::string(400'000, 'x')}}) {
    open([](OriginOptions& options) { options.metadata_deadline = milliseconds(1'000); });
    server.script([&](const HttpRequest&) { return answer; });
    const auto info = revision();
    ASSERT_FALSE(info);
    EXPECT_NE(info.error().message.find("headers of its answer are too large"), std::string::npos)
        << answer.bytes.substr(0, 40) << ": " << info.error().message;
  }
}

TEST_F(HubTest, BytesThatComeSlowlyButComeAreTaken) {
  open([](OriginOptions& options) { options.stall_timeout = milliseconds(2'000); });
  server.script([](const HttpRequest&) {
    std::string lines;
    for (int i = 0; i < 30; ++i) lines += "x\n";
    HttpReply answer = reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 0-59/60"}}, lines);
    answer.between_lines = milliseconds(100);
    return answer;
  });
  const auto sink = std::make_shared<Heard>();
  fetch(sink, {0, 60}, 60);
  EXPECT_EQ(sink->end(), std::nullopt) << "all lines take longer than any one may";
}

TEST_F(HubTest, NoLocationBecomesALineOfARequest) {
  open([](OriginOptions& options) {
    options.token = Secret("hf_secret");
    options.metadata_deadline = milliseconds(2'000);
  });
  for (const std::string evil : {"/a%0d%0aX-Evil:%20yes", "/a\r X-Evil: yes", "/a\tX-Evil: yes", "/a\x01""b", "/a\x7f""b",
                                 "/a HTTP/1.1", "http://127.0.0.1\\@evil/"}) {
    server.clear_requests();
    server.script([evil](const HttpRequest& request) {
      return request.target.starts_with("/api/") ? reply(307, {{"Location", evil}}) : reply(404);
    });
    EXPECT_FALSE(revision());
    for (const HttpRequest& request : server.requests()) {
      EXPECT_EQ(request.header("x-evil"), "") << evil;
      for (const unsigned char c : request.target) EXPECT_TRUE(c > 0x20 && c < 0x7f) << evil;
    }
  }
}

TEST_F(HubTest, TheEndpointThatStepsInHasItsOwnHome) {
  HttpServer second;
  open([&](OriginOptions& options) {
    options.token = Secret("hf_secret");
    options.endpoints = {server.url(), second.url()};
    options.metadata_deadline = milliseconds(2'000);
  });
  server.script([](const HttpRequest& request) {
    return request.target.starts_with("/sent") ? reply(200, {}, info_json()) : reply(503);
  });
  second.script([&](const HttpRequest&) { return reply(307, {{"Location", server.url("/sent")}}); });
  EXPECT_TRUE(revision());
  for (const HttpRequest& request : server.requests())
    EXPECT_EQ(request.header("authorization"), request.target == "/sent" ? "" : "Bearer hf_secret") << request.target;
}

TEST_F(HubTest, VariablesOfLaterAreNotAsked) {
  HttpServer proxy([](const HttpRequest&) { return reply(502); });
  open();
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  EXPECT_TRUE(revision());
  ::unsetenv("http_proxy");
  EXPECT_TRUE(proxy.requests().empty());
}

}  // namespace
}  // namespace hffs
