// SPDX-License-Identifier: Apache-2.0
// Range reads on a scripted endpoint and a scripted store of bytes: every check before a byte is
// used.
#include "hub_fixture.h"

namespace hffs {
namespace {

using namespace test;

std::string content(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 13);
  return text;
}

// The answer of a server that heeds Range.
HttpReply ranged(const HttpRequest& request, const std::string& data, HttpHeaders headers = {}) {
  const std::string range = request.header("range").substr(6);
  const std::size_t first = std::stoul(range);
  const std::size_t last = std::stoul(range.substr(range.find('-') + 1));
  headers.emplace_back("Content-Range", "bytes " + std::to_string(first) + "-" +
                                            std::to_string(last) + "/" +
                                            std::to_string(data.size()));
  return reply(206, std::move(headers), data.substr(first, last - first + 1));
}

const HttpHeaders kHub{{"X-Repo-Commit", kCommit}, {"ETag", '"' + kSha256 + '"'}};

class RangeTest : public HubTest {
 protected:
  // The endpoint sends large files to `store`, as the Hub does.
  void send_to_store(const std::string& query = "?Expires=99999999999&Signature=xyz") {
    server.script([this, query](const HttpRequest&) {
      return reply(302,
                   {{"Location", store.url("/lfs/x" + query)},
                    {"X-Repo-Commit", kCommit},
                    {"X-Linked-Etag", '"' + kSha256 + '"'},
                    {"X-Linked-Size", std::to_string(data.size())}},
                   "Found. Redirecting");
    });
    store.script([this](const HttpRequest& request) { return ranged(request, data); });
  }
  std::shared_ptr<Heard> read(ByteRange range) {
    const auto sink = std::make_shared<Heard>();
    fetch(sink, range, data.size());
    last = sink->end();
    return sink;
  }

  HttpServer store;
  std::string data = content(200'000);
  std::optional<Code> last;
};

TEST_F(RangeTest, FollowsToTheStoreWithoutTheToken) {
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  send_to_store();
  const auto sink = read({1'000, 50'000});
  EXPECT_EQ(last, std::nullopt);
  EXPECT_EQ(sink->start, (ByteRange{1'000, 50'000}));
  EXPECT_EQ(sink->bytes, data.substr(1'000, 50'000));
  EXPECT_FALSE(sink->out_of_order);
  const auto asked = server.requests().at(0);
  EXPECT_EQ(asked.target, "/acme/tiny/resolve/" + kCommit + "/model.bin");
  EXPECT_EQ(asked.header("range"), "bytes=1000-50999");
  EXPECT_EQ(asked.header("accept-encoding"), "identity");
  EXPECT_EQ(asked.header("authorization"), "Bearer hf_secret");
  EXPECT_EQ(store.requests().at(0).header("authorization"), "");
  EXPECT_EQ(store.requests().at(0).header("accept-encoding"), "identity");
  EXPECT_EQ(count(Metric::content_bytes), 50'000);
}

TEST_F(RangeTest, AddressIsAskedForOnce) {
  open();
  send_to_store();
  std::vector<std::shared_ptr<Heard>> sinks;
  for (std::uint64_t i = 0; i < 16; ++i) {
    sinks.push_back(std::make_shared<Heard>());
    fetch(sinks.back(), {i * 10'000, 10'000}, data.size());
  }
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_EQ(sinks[i]->end(), std::nullopt);
    EXPECT_EQ(sinks[i]->bytes, data.substr(i * 10'000, 10'000));
  }
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(store.requests().size(), 16u);
}

TEST_F(RangeTest, AddressThatSoonExpiresIsNotKept) {
  open();
  const auto soon = std::chrono::duration_cast<std::chrono::seconds>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count() +
                    30;
  send_to_store("?Expires=" + std::to_string(soon));
  read({0, 10});
  EXPECT_EQ(last, std::nullopt);
  read({0, 10});
  EXPECT_EQ(server.requests().size(), 2u);
}

class ExpiredTest : public RangeTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Statuses, ExpiredTest, ::testing::Values(401, 403, 404, 410));

TEST_P(ExpiredTest, AddressThatTheStoreRefusesIsAskedForAgainOnce) {
  open();
  send_to_store();
  read({0, 10});
  std::atomic<bool> refuse = true;
  store.script([&](const HttpRequest& request) {
    return refuse.exchange(false) ? reply(GetParam()) : ranged(request, data);
  });
  EXPECT_EQ(read({5, 10})->bytes, data.substr(5, 10));
  EXPECT_EQ(server.requests().size(), 2u);
  store.script([&](const HttpRequest&) { return reply(GetParam()); });
  read({5, 10});
  EXPECT_EQ(last, Code::unreachable) << "refused by the store is not forbidden";
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST_F(RangeTest, SmallFilesComeByASecondHopAtTheEndpoint) {
  open([](OriginOptions& options) { options.token = Secret("hf_secret"); });
  server.script([&](const HttpRequest& request) {
    if (request.target.find("/resolve/") != std::string::npos)
      return reply(
          307, {{"Location", "/api/resolve-cache/x?a=1&etag=%22y%22"}, {"X-Repo-Commit", kCommit}});
    return ranged(request, data, {{"ETag", '"' + kSha256 + '"'}});
  });
  EXPECT_EQ(read({7, 100})->bytes, data.substr(7, 100));
  EXPECT_EQ(server.requests().at(1).target, "/api/resolve-cache/x?a=1&etag=%22y%22");
  EXPECT_EQ(server.requests().at(1).header("authorization"), "Bearer hf_secret");
}

TEST_F(RangeTest, EndpointThatSendsTheBytesItself) {
  open();
  server.script([&](const HttpRequest& request) { return ranged(request, data, kHub); });
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(read({i, 100})->bytes, data.substr(i, 100));
  EXPECT_EQ(server.requests().size(), 3u);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(RangeTest, IgnoredRangeDeliversTheWholeFileFromZero) {
  open();
  server.script([&](const HttpRequest&) { return reply(200, kHub, data); });
  const auto sink = read({100'000, 10});
  EXPECT_EQ(last, std::nullopt);
  EXPECT_EQ(sink->start, (ByteRange{0, data.size()}));
  EXPECT_EQ(sink->bytes, data);
}

TEST_F(RangeTest, IgnoredRangeWithoutALengthIsCounted) {
  open();
  const auto send = [&](const std::string& body) {
    server.script([body](const HttpRequest&) {
      HttpReply answer{"HTTP/1.1 200 OK\r\nX-Repo-Commit: " + kCommit +
                       "\r\nConnection: close\r\n\r\n" + body};
      answer.end = HttpReply::End::close;
      return answer;
    });
  };
  send(data);
  EXPECT_EQ(read({5, 5})->bytes, data);
  EXPECT_EQ(last, std::nullopt);
  send(data.substr(0, 1'000));
  read({5, 5});
  EXPECT_EQ(last, Code::unreachable) << "short";
  send(data + "x");
  const auto sink = read({5, 5});
  EXPECT_EQ(last, Code::unreachable) << "long";
  EXPECT_LE(sink->bytes.size(), data.size()) << "bytes behind the end are handed on";
}

TEST_F(RangeTest, ShortBodyKeepsWhatCame) {
  open();
  server.script([&](const HttpRequest& request) {
    HttpReply answer = ranged(request, data, kHub);
    answer.bytes.resize(answer.bytes.size() - 60'000);
    answer.end = HttpReply::End::close;
    return answer;
  });
  const auto sink = read({0, 100'000});
  EXPECT_EQ(last, Code::unreachable);
  EXPECT_EQ(sink->bytes, data.substr(0, 40'000));
  EXPECT_EQ(sink->dones, 1);
}

TEST_F(RangeTest, ResetInTheMiddle) {
  open();
  send_to_store();
  store.script([&](const HttpRequest& request) {
    HttpReply answer = ranged(request, data);
    answer.bytes.resize(answer.bytes.size() / 2);
    answer.end = HttpReply::End::reset;
    return answer;
  });
  read({0, 100'000});
  EXPECT_EQ(last, Code::unreachable);
  EXPECT_TRUE(hub->health().at(0).up) << "the store's trouble is not the endpoint's";
}

struct BadAnswer {
  const char* name;
  Code code;
  std::function<HttpReply(const std::string& data)> answer;
};

HttpReply spoilt(const std::string& data, const std::string& content_range, HttpHeaders more = {},
                 int status = 206) {
  HttpHeaders headers = kHub;
  if (!content_range.empty()) headers.emplace_back("Content-Range", content_range);
  for (auto& each : more) headers.push_back(each);
  return reply(status, headers, data.substr(10, 10));
}

const std::vector<BadAnswer> kBad{
    {"no Content-Range", Code::unreachable, [](auto& data) { return spoilt(data, ""); }},
    {"Content-Range of letters", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes a-b/c"); }},
    {"Content-Range backwards", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes 19-10/200000"); }},
    {"Content-Range beyond 64 bits", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes 99999999999999999999-99999999999999999999/9"); }},
    {"Content-Range of nothing", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes */*"); }},
    {"another start", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes 11-20/200000"); }},
    {"a later start, the same end", Code::unreachable,
     [](auto& data) {
       return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 11-19/200000"}},
                    data.substr(11, 9));
     }},
    {"an earlier start, the same end", Code::unreachable,
     [](auto& data) {
       return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 9-19/200000"}},
                    data.substr(9, 11));
     }},
    {"another length", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes 10-29/200000"); }},
    {"another size", Code::corrupt, [](auto& data) { return spoilt(data, "bytes 10-19/200001"); }},
    {"multipart", Code::unreachable,
     [](auto& data) {
       return spoilt(data, "bytes 10-19/200000",
                     {{"Content-Type", "multipart/byteranges; boundary=x"}});
     }},
    {"gzip", Code::unreachable,
     [](auto& data) {
       return spoilt(data, "bytes 10-19/200000", {{"Content-Encoding", "gzip"}});
     }},
    {"a page, and no commit", Code::unreachable,
     [](auto& data) {
       return reply(206, {{"Content-Range", "bytes 10-19/200000"}, {"Content-Type", "text/html"}},
                    data.substr(10, 10));
     }},
    {"another commit", Code::corrupt,
     [](auto& data) {
       return reply(
           206, {{"Content-Range", "bytes 10-19/200000"}, {"X-Repo-Commit", std::string(40, '9')}},
           data.substr(10, 10));
     }},
    {"another content", Code::corrupt,
     [](auto& data) {
       return reply(206,
                    {{"Content-Range", "bytes 10-19/200000"},
                     {"X-Repo-Commit", kCommit},
                     {"ETag", '"' + std::string(64, '8') + '"'}},
                    data.substr(10, 10));
     }},
    {"200 of another size", Code::unreachable, [](auto&) { return reply(200, kHub, "<html>"); }},
    {"416 with our size", Code::unreachable,
     [](auto& data) { return spoilt(data, "bytes */200000", {}, 416); }},
    {"416 with another size", Code::corrupt,
     [](auto& data) { return spoilt(data, "bytes */5", {}, 416); }},
    {"204", Code::unreachable, [](auto&) { return reply(204, kHub); }},
    {"304", Code::unreachable, [](auto&) { return reply(304, kHub); }},
    {"400", Code::unreachable, [](auto&) { return reply(400); }},
    {"404 that says no more", Code::unreachable, [](auto&) { return reply(404); }},
    {"404 of the repository", Code::not_found,
     [](auto&) {
       return reply(404, {{"X-Error-Code", "RepoNotFound"}});
     }},
    {"404 of the entry", Code::not_found,
     [](auto&) {
       return reply(404, {{"X-Error-Code", "EntryNotFound"}});
     }},
    {"401 gated", Code::needs_login,
     [](auto&) {
       return reply(401, {{"X-Error-Code", "GatedRepo"}});
     }},
    {"403 gated", Code::denied,
     [](auto&) {
       return reply(403, {{"X-Error-Code", "GatedRepo"}});
     }},
    {"451", Code::denied, [](auto&) { return reply(451); }},
    {"500", Code::unreachable, [](auto&) { return reply(500); }},
    {"503", Code::unreachable, [](auto&) { return reply(503); }},
    {"no HTTP", Code::unreachable,
     [](auto&) {
       return HttpReply{"nonsense\r\n\r\n", HttpReply::End::close};
     }},
    {"redirect loop", Code::unreachable,
     [](auto&) {
       return reply(307, {{"Location", "/acme/tiny/resolve/" + kCommit + "/model.bin"}});
     }},
    {"redirect to a file", Code::unreachable,
     [](auto&) {
       return reply(302, {{"Location", "file:///etc/passwd"}});
     }},
    {"redirect to nowhere", Code::unreachable,
     [](auto&) {
       return reply(302, {{"Location", "http://127.0.0.1:9/x"}});
     }},
};

TEST_F(RangeTest, WrongAnswersDeliverNothing) {
  open();
  for (const BadAnswer& bad : kBad) {
    server.script([&](const HttpRequest&) { return bad.answer(data); });
    const auto sink = read({10, 10});
    EXPECT_EQ(last, bad.code) << bad.name << ": "
                              << (*sink->result ? "" : sink->result->error().message);
    EXPECT_EQ(sink->starts, 0) << bad.name;
    EXPECT_EQ(sink->bytes, "") << bad.name;
    EXPECT_EQ(sink->dones, 1) << bad.name;
  }
}

TEST_F(RangeTest, WrongAnswersOfTheStoreDeliverNothing) {
  open();
  send_to_store();
  read({0, 10});
  for (const std::string range :
       {"", "bytes 11-20/200000", "bytes 10-29/200000", "bytes 10-19/7"}) {
    store.script([&](const HttpRequest&) {
      HttpHeaders headers{{"ETag", "\"0123456789abcdef-7\""}};
      if (!range.empty()) headers.emplace_back("Content-Range", range);
      return reply(206, headers, data.substr(10, 10));
    });
    EXPECT_EQ(read({10, 10})->starts, 0) << range;
    EXPECT_NE(last, std::nullopt) << range;
  }
}

TEST_F(RangeTest, SpellingsOfTheETag) {
  open();
  for (const std::string& etag : {'"' + kSha256 + '"', "W/\"" + kSha256 + '"', kSha256,
                                  kSha256 + "-2", std::string("\"0000\""), std::string("\"\"")}) {
    server.script([&](const HttpRequest& request) {
      return ranged(request, data, {{"X-Repo-Commit", kCommit}, {"ETag", etag}});
    });
    EXPECT_EQ(read({10, 10})->bytes, data.substr(10, 10)) << etag;
  }
}

TEST_F(RangeTest, OneContradictionIsAskedAgain) {
  open();
  std::atomic<bool> lie = true;
  server.script([&](const HttpRequest& request) {
    return ranged(request, data,
                  {{"X-Repo-Commit", lie.exchange(false) ? std::string(40, '9') : kCommit}});
  });
  EXPECT_EQ(read({10, 10})->bytes, data.substr(10, 10));
}

TEST_F(RangeTest, RangeShortAtItsEndIsDeliveredAsSuch) {
  open();
  server.script([&](const HttpRequest&) {
    return reply(206, {{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 10-14/*"}},
                 data.substr(10, 5));
  });
  const auto sink = read({10, 10});
  EXPECT_EQ(last, std::nullopt);
  EXPECT_EQ(sink->start, (ByteRange{10, 5}));
}

TEST_F(RangeTest, RateLimitOfFilesIsShared) {
  open();
  server.script([](const HttpRequest&) {
    return reply(429, {{"RateLimit", "\"resolvers\";r=0;t=30"}});
  });
  auto sink = read({0, 10});
  EXPECT_EQ(last, Code::rate_limited);
  EXPECT_EQ(sink->result->error().retry_after, std::chrono::seconds(31));
  sink = read({0, 10});
  EXPECT_EQ(last, Code::rate_limited);
  EXPECT_EQ(server.requests().size(), 1u) << "who was asked to wait does not ask";
  server.script([](const HttpRequest&) { return reply(200, {}, info_json()); });
  EXPECT_TRUE(revision()) << "the API has a budget of its own";
}

// --- flow

TEST_F(RangeTest, PausedBytesComeAgain) {
  open();
  data = content(3 << 20);
  send_to_store();
  const auto sink = std::make_shared<Heard>();
  std::atomic<int> pauses = 0;
  std::shared_ptr<RangeFetch> handle;
  std::mutex handle_mutex;
  sink->on_bytes = [&](std::uint64_t offset, auto) {
    if (offset < 100'000 || pauses >= 3) return Flow::more;
    ++pauses;
    std::lock_guard lock(handle_mutex);
    handle->resume();  // before the pause has even begun
    return Flow::pause;
  };
  {
    std::lock_guard lock(handle_mutex);
    handle = fetch(sink, {0, data.size()}, data.size());
  }
  EXPECT_EQ(sink->end(), std::nullopt);
  EXPECT_EQ(pauses, 3);
  EXPECT_EQ(sink->bytes, data);
}

TEST_F(RangeTest, PausedRangeHoldsUpNobody) {
  open([](OriginOptions& options) { options.stall_timeout = std::chrono::milliseconds(300); });
  data = content(3 << 20);
  send_to_store();
  const auto paused = std::make_shared<Heard>();
  std::atomic<bool> open_gate = false;
  paused->on_bytes = [&](auto, auto) { return open_gate ? Flow::more : Flow::pause; };
  const auto handle = fetch(paused, {0, data.size()}, data.size());
  EXPECT_EQ(read({0, 1'000})->bytes, data.substr(0, 1'000));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  EXPECT_EQ(paused->dones, 0) << "a pause is no stall";
  open_gate = true;
  handle->resume();
  EXPECT_EQ(paused->end(), std::nullopt);
  EXPECT_EQ(paused->bytes, data);
}

TEST_F(RangeTest, StopEndsTheRange) {
  open();
  send_to_store();
  const auto sink = std::make_shared<Heard>();
  sink->on_bytes = [](auto, auto) { return Flow::stop; };
  fetch(sink, {0, 100'000}, data.size());
  EXPECT_EQ(sink->end(), Code::cancelled);
}

TEST_F(RangeTest, CancelEndsARangeWhereverItIs) {
  open();
  server.script([](const HttpRequest&) { return HttpReply{"", HttpReply::End::hang}; });
  std::vector<std::shared_ptr<Heard>> sinks;
  std::vector<std::shared_ptr<RangeFetch>> handles;
  for (int i = 0; i < 4; ++i) {
    sinks.push_back(std::make_shared<Heard>());
    handles.push_back(fetch(sinks.back(), {0, 10}, data.size()));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  send_to_store();       // for who asks next
  handles[0]->cancel();  // the one whose answer the others wait for
  handles[0]->cancel();
  EXPECT_EQ(sinks[0]->end(), Code::cancelled);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(sinks[i]->end(), std::nullopt);
  EXPECT_EQ(sinks[0]->dones, 1);
}

TEST_F(RangeTest, StalledBodyEnds) {
  open([](OriginOptions& options) { options.stall_timeout = std::chrono::milliseconds(300); });
  send_to_store();
  store.script([&](const HttpRequest& request) {
    HttpReply answer = ranged(request, data);
    answer.bytes.resize(answer.bytes.size() - 1'000);
    answer.end = HttpReply::End::hang;
    return answer;
  });
  const auto sink = std::make_shared<Heard>();
  EXPECT_LT(seconds_of([&] {
              fetch(sink, {0, 50'000}, data.size());
              EXPECT_EQ(sink->end(), Code::timed_out);
            }),
            3);
  EXPECT_EQ(sink->bytes, data.substr(0, 49'000));
}

TEST_F(RangeTest, StalledRangesLeaveConnectionsToQuestions) {
  open([](OriginOptions& options) { options.connections = 4; });
  server.script([](const HttpRequest& request) {
    if (request.target.starts_with("/api/")) return reply(200, {}, info_json());
    return HttpReply{
        "HTTP/1.1 206 Partial\r\nX-Repo-Commit: " + kCommit +
            "\r\nContent-Range: bytes 0-99999/200000\r\nContent-Length: 100000\r\n\r\n",
        HttpReply::End::hang};
  });
  std::vector<std::shared_ptr<Heard>> sinks;
  for (int i = 0; i < 10; ++i) {
    sinks.push_back(std::make_shared<Heard>());
    fetch(sinks.back(), {0, 100'000}, data.size());
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(seconds_of([&] { EXPECT_TRUE(revision()); }), 1);
  hub.reset();
  for (const auto& sink : sinks) EXPECT_EQ(sink->end(std::chrono::seconds(0)), Code::cancelled);
}

TEST_F(RangeTest, SignedAddressesAreInNoError) {
  open();
  send_to_store();
  store.script([](const HttpRequest&) { return reply(500); });
  const auto sink = read({0, 10});
  EXPECT_EQ(last, Code::unreachable);
  EXPECT_EQ(sink->result->error().message.find("Signature"), std::string::npos);
  EXPECT_NE(sink->result->error().message.find("/lfs/x"), std::string::npos);
}

}  // namespace
}  // namespace hffs
