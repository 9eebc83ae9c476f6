// SPDX-License-Identifier: Apache-2.0
// Endpoints that are down, silent, limited or many; deadlines; the end of the client.
#include "hub_fixture.h"

namespace hffs {
namespace {

using namespace test;
using std::chrono::milliseconds;

// A port on which nobody listens, and which nobody else is given: a server of ours may take it.
class ClosedPort {
 public:
  ClosedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0) std::abort();
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ClosedPort(const ClosedPort&) = delete;
  ~ClosedPort() { ::close(socket_); }
  operator int() const { return port_; }

 private:
  int socket_ = -1;
  int port_ = 0;
};

bool eventually(const std::function<bool()>& holds, milliseconds limit = milliseconds(5'000)) {
  for (auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end;
       std::this_thread::sleep_for(milliseconds(20)))
    if (holds()) return true;
  return holds();
}

TEST_F(HubTest, DownEndpointFailsAtOnceAndComesBack) {
  const ClosedPort port;
  open([&](OriginOptions& options) {
    options.endpoints = {"http://127.0.0.1:" + std::to_string(port)};
    options.probe_interval = milliseconds(100);
  });
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(revision().error().code, Code::unreachable); }), 5);
  EXPECT_FALSE(hub->health().at(0).up);
  EXPECT_NE(hub->health().at(0).last_error, "");
  EXPECT_LT(usual_seconds_of([&] { EXPECT_EQ(revision().error().code, Code::unreachable); }), 0.05);
  HttpServer back([](const HttpRequest&) { return reply(200, {}, info_json()); }, port);
  EXPECT_TRUE(eventually([&] { return revision().has_value(); }));
  EXPECT_TRUE(hub->health().at(0).up);
  EXPECT_EQ(hub->health().at(0).last_error, "");
}

TEST_F(HubTest, SilentEndpointIsDownAfterTheFirstDeadline) {
  open([](OriginOptions& options) {
    options.metadata_deadline = milliseconds(1'000);
    options.probe_interval = milliseconds(100);
  });
  server.script([](const HttpRequest&) { return HttpReply{"", HttpReply::End::hang}; });
  const double first = seconds_of([&] { EXPECT_FALSE(revision()); });
  EXPECT_LT(first, 2.5);
  EXPECT_LT(usual_seconds_of([&] { EXPECT_EQ(revision().error().code, Code::unreachable); }), 0.05);
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  server.release();
  EXPECT_TRUE(eventually([&] { return revision().has_value(); }));
}

TEST_F(HubTest, DeadlineCoversRetries) {
  open([](OriginOptions& options) { options.metadata_deadline = milliseconds(1'500); });
  server.script([](const HttpRequest&) {
    HttpReply answer = reply(200, {{"Content-Length", "1000"}}, "{");  // goes on for ever
    answer.end = HttpReply::End::hang;
    return answer;
  });
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(revision().error().code, Code::timed_out); }), 4);
  EXPECT_TRUE(hub->health().at(0).up) << "it does answer";
}

TEST_F(HubTest, PassingTroubleIsNotSeen) {
  open();
  for (const auto end : {HttpReply::End::reset, HttpReply::End::close}) {
    std::atomic<int> number = 0;
    server.script([&](const HttpRequest&) {
      return number++ < 2 ? HttpReply{"", end} : reply(200, {}, info_json());
    });
    EXPECT_TRUE(revision());
  }
  for (const int status : {408, 500, 502, 503, 504}) {
    std::atomic<int> number = 0;
    server.script([&](const HttpRequest&) {
      return number++ < 2 ? reply(status) : reply(200, {}, info_json());
    });
    EXPECT_TRUE(revision()) << status;
  }
  EXPECT_TRUE(hub->health().at(0).up);
}

TEST_F(HubTest, ManyConnectionsThatBreakAtOnceAreOneFailure) {
  open();
  std::atomic<int> number = 0;
  server.script([&](const HttpRequest&) {
    return number++ < 8 ? HttpReply{"", HttpReply::End::reset} : reply(200, {}, info_json());
  });
  std::atomic<int> right = 0, done = 0;
  for (int i = 0; i < 8; ++i)
    hub->fetch_revision(repo(), "main", [&](Result<RepoInfo> info) {
      right += info.has_value();
      ++done;
    });
  EXPECT_TRUE(eventually([&] { return done == 8; }));
  EXPECT_EQ(right, 8);
}

TEST_F(HubTest, ShortWaitsAreWaitedAndLongOnesFailFast) {
  open();
  std::atomic<int> number = 0;
  server.script([&](const HttpRequest&) {
    return number++ == 0 ? reply(429, {{"RateLimit", "\"api\";r=0;t=0"}, {"Retry-After", "0"}})
                         : reply(200, {}, info_json());
  });
  const double waited = seconds_of([&] { EXPECT_TRUE(revision()); });
  EXPECT_GT(waited, 0.9);
  EXPECT_LT(waited, 3);
  server.script([](const HttpRequest&) { return reply(429, {{"Retry-After", "60"}}); });
  server.clear_requests();
  EXPECT_LT(seconds_of([&] {
              const auto info = revision();
              EXPECT_EQ(info.error().code, Code::rate_limited);
              EXPECT_GT(info.error().retry_after, std::chrono::seconds(50));
            }),
            1.5);
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(tree().error().code, Code::rate_limited); }), 0.5);
  EXPECT_EQ(server.requests().size(), 1u) << "the clock is shared by all calls";
}

TEST_F(HubTest, SecondEndpointAnswersForTheFirst) {
  HttpServer second([](const HttpRequest&) { return reply(200, {}, info_json()); });
  const auto two = [&](OriginOptions& options) {
    options.endpoints = {server.url(), second.url()};
    options.metadata_deadline = milliseconds(2'000);
  };
  struct Trouble {
    const char* name;
    HttpReply reply;
  };
  for (const Trouble& trouble :
       {Trouble{"500", reply(500)}, Trouble{"portal", reply(200, {}, "<html>")},
        Trouble{"429", reply(429, {{"Retry-After", "60"}})},
        Trouble{"reset", {"", HttpReply::End::reset}},
        Trouble{"silent", {"", HttpReply::End::hang}}}) {
    open(two);
    server.script([answer = trouble.reply](const HttpRequest&) { return answer; });
    EXPECT_TRUE(revision()) << trouble.name;
    second.clear_requests();
    EXPECT_TRUE(revision()) << trouble.name;
    EXPECT_EQ(second.requests().size(), 1u) << trouble.name;
    hub.reset();
    server.release();
  }
}

TEST_F(HubTest, FirstEndpointsNoIsAnAnswer) {
  HttpServer second([](const HttpRequest&) { return reply(200, {}, info_json()); });
  open([&](OriginOptions& options) { options.endpoints = {server.url(), second.url()}; });
  server.script([](const HttpRequest&) { return reply(404, {{"X-Error-Code", "RepoNotFound"}}); });
  EXPECT_EQ(revision().error().code, Code::not_found);
  EXPECT_TRUE(second.requests().empty());
}

TEST_F(HubTest, DownFirstEndpointIsProbedBehind) {
  const ClosedPort port;
  HttpServer second([](const HttpRequest&) { return reply(200, {}, info_json()); });
  open([&](OriginOptions& options) {
    options.endpoints = {"http://127.0.0.1:" + std::to_string(port), second.url()};
    options.probe_interval = milliseconds(50);
  });
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(revision());
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_FALSE(hub->health().at(0).up);
  EXPECT_TRUE(hub->health().at(1).up);
  HttpServer first([](const HttpRequest&) { return reply(200, {}, info_json()); }, port);
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(revision());
    return hub->health().at(0).up;
  }));
}

TEST_F(HubTest, RangesOfADownEndpointAreTriedAllTheSame) {
  const ClosedPort port;
  open([&](OriginOptions& options) {
    options.endpoints = {"http://127.0.0.1:" + std::to_string(port)};
  });
  EXPECT_FALSE(revision());
  auto sink = std::make_shared<Heard>();
  fetch(sink, {0, 5}, 10);
  EXPECT_EQ(sink->end(), Code::unreachable);
  HttpServer back(
      [](const HttpRequest&) {
        return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 0-4/10"}}, "01234");
      },
      port);
  sink = std::make_shared<Heard>();
  fetch(sink, {0, 5}, 10);
  EXPECT_EQ(sink->end(), std::nullopt);
  EXPECT_TRUE(hub->health().at(0).up) << "content is an answer, too";
}

TEST_F(HubTest, RangesGoToTheNextEndpointAsLongAsNothingCame) {
  const auto right = [](const HttpRequest&) {
    return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 0-4/10"}}, "01234");
  };
  HttpServer second(right);
  open([&](OriginOptions& options) { options.endpoints = {server.url(), second.url()}; });
  const std::string range = "bytes 0-4/10";
  for (const HttpReply& bad :
       {reply(500), reply(404), reply(404, {{"X-Error-Code", "RepoNotFound"}}),
        reply(404, {{"X-Error-Code", "EntryNotFound"}}), reply(401), reply(403), reply(200, {}, "<html>"), reply(429, {{"Retry-After", "60"}}),
        reply(206, {{"X-Repo-Commit", std::string(40, '9')}, {"Content-Range", range}}, "xxxxx"),
        reply(302, {{"Location", "http://127.0.0.1:9/x"}, {"X-Repo-Commit", kCommit}}),
        HttpReply{"", HttpReply::End::reset}}) {
    server.script([bad](const HttpRequest&) { return bad; });
    const auto sink = std::make_shared<Heard>();
    fetch(sink, {0, 5}, 10);
    EXPECT_EQ(sink->end(), std::nullopt) << bad.bytes.substr(0, 40);
    EXPECT_EQ(sink->bytes, "01234");
  }
  hub.reset();
  open([&](OriginOptions& options) { options.endpoints = {server.url(), second.url()}; });
  second.clear_requests();
  second.script([&](const HttpRequest&) { return reply(403, {{"X-Error-Code", "GatedRepo"}}); });
  server.script([&](const HttpRequest&) { return reply(404, {{"X-Error-Code", "RepoNotFound"}}); });
  auto sink = std::make_shared<Heard>();
  fetch(sink, {0, 5}, 10);
  EXPECT_EQ(sink->end(), Code::denied) << "where all say no that is the answer";
  second.script(right);
  hub.reset();
  open([&](OriginOptions& options) { options.endpoints = {server.url(), second.url()}; });
  second.clear_requests();
  server.script([&](const HttpRequest&) {
    return HttpReply{"HTTP/1.1 206 Partial\r\nX-Repo-Commit: " + kCommit +
                         "\r\nContent-Range: " + range + "\r\nContent-Length: 5\r\n\r\n01",
                     HttpReply::End::close};
  });
  sink = std::make_shared<Heard>();
  fetch(sink, {0, 5}, 10);
  EXPECT_EQ(sink->end(), Code::unreachable) << "two bytes have come";
  EXPECT_TRUE(second.requests().empty());
}

TEST_F(HubTest, ProxyOfTheEnvironmentIsUsedForPlainHttp) {
  ::setenv("HTTP_PROXY", server.url().c_str(), 1);
  open([](OriginOptions& options) { options.endpoints = {"http://hub.invalid"}; });
  ::unsetenv("HTTP_PROXY");
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  EXPECT_TRUE(revision());
  EXPECT_EQ(server.requests().at(0).target.substr(0, 28), "http://hub.invalid/api/model");
}

TEST_F(HubTest, EndOfTheClientEndsEveryCallOnce) {
  for (int round = 0; round < 20; ++round) {
    open();
    server.script([](const HttpRequest&) { return HttpReply{"", HttpReply::End::hang}; });
    std::atomic<int> heard = 0;
    std::vector<std::shared_ptr<Heard>> sinks;
    std::vector<std::shared_ptr<RangeFetch>> handles;
    for (int i = 0; i < 10; ++i) {
      hub->fetch_revision(repo(), "main", [&](Result<RepoInfo> info) {
        EXPECT_EQ(info.error().code, Code::cancelled);
        // A completion may ask again; that hears the same.
        hub->fetch_refs(repo(), [&](Result<RefList> list) {
          EXPECT_EQ(list.error().code, Code::cancelled);
          ++heard;
        });
      });
      sinks.push_back(std::make_shared<Heard>());
      handles.push_back(fetch(sinks.back(), {0, 5}, 10));
    }
    if (round % 2 == 0) std::this_thread::sleep_for(milliseconds(5));
    Origin* raw = hub.get();
    delete raw;  // `hub` still names it for the completions
    (void)hub.release();
    EXPECT_EQ(heard, 10);
    for (const auto& sink : sinks) {
      EXPECT_EQ(sink->end(std::chrono::seconds(0)), Code::cancelled);
      EXPECT_EQ(sink->dones, 1);
    }
    for (const auto& handle : handles) handle->cancel();  // outlives the client
    server.release();
  }
}

TEST_F(HubTest, ManyCallsFromManyThreads) {
  open();
  server.script([](const HttpRequest& request) {
    if (request.target.starts_with("/api/")) return reply(200, {}, info_json());
    return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 0-4/10"}}, "01234");
  });
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        right += revision().has_value();
        const auto sink = std::make_shared<Heard>();
        const auto handle = fetch(sink, {0, 5}, 10);
        handle->resume();
        right += sink->end() == std::nullopt;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 400);
}

}  // namespace
}  // namespace hffs
