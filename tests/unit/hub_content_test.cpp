// SPDX-License-Identifier: Apache-2.0
// Which answers to a range GET, and to the HEAD of a file, are believed.
#include <gtest/gtest.h>

#include "content_check.h"
#include "head_answer.h"

namespace hffs::hub {
namespace {

using Kind = ContentVerdict::Kind;
using List = std::vector<std::pair<std::string, std::string>>;

const std::string kCommit(40, 'c');
const std::string kLinked(64, 'a');
const FileSource kFile{*RepoId::parse_user("acme/tiny"), *CommitId::parse(kCommit), "model.bin",
                       *BlobId::parse(kLinked), 1'000};
constexpr ByteRange kAsked{100, 50};

Headers headers_of(const List& list) {
  Headers headers;
  for (const auto& [name, value] : list) headers.add(name, value);
  return headers;
}

struct Case {
  const char* name;
  bool home;
  int status;
  List headers;
  Kind kind;
  Code code = Code::unreachable;
};

TEST(CheckContent, Table) {
  const std::pair<std::string, std::string> right{"Content-Range", "bytes 100-149/1000"};
  const std::pair<std::string, std::string> here{"X-Repo-Commit", kCommit};
  const std::string other(64, '8');
  for (const Case& each : std::vector<Case>{
           {"store", false, 206, {right}, Kind::accept},
           {"store, its own ETag", false, 206, {right, {"ETag", '"' + other + '"'}}, Kind::accept},
           {"hub", true, 206, {right, here}, Kind::accept},
           {"hub, size not told",
            true,
            206,
            {here, {"Content-Range", "bytes 100-149/*"}},
            Kind::accept},
           {"hub, short", true, 206, {here, {"Content-Range", "bytes 100-120/1000"}}, Kind::accept},
           {"hub, identity",
            true,
            206,
            {here, right, {"Content-Encoding", "identity"}},
            Kind::accept},
           {"whole", true, 200, {here, {"Content-Length", "1000"}}, Kind::accept},
           {"whole, length not told", true, 200, {here}, Kind::accept},
           {"whole, another size", true, 200, {here, {"Content-Length", "999"}}, Kind::refused},
           {"length is not the range's",
            false,
            206,
            {right, {"Content-Length", "49"}},
            Kind::refused},
           {"starts early", false, 206, {{"Content-Range", "bytes 99-149/1000"}}, Kind::refused},
           {"starts late", false, 206, {{"Content-Range", "bytes 101-149/1000"}}, Kind::refused},
           {"ends late", false, 206, {{"Content-Range", "bytes 100-150/1000"}}, Kind::refused},
           {"another size",
            false,
            206,
            {{"Content-Range", "bytes 100-149/1001"}},
            Kind::contradicts,
            Code::corrupt},
           {"multipart",
            false,
            206,
            {right, {"Content-Type", "multipart/byteranges"}},
            Kind::refused},
           {"gzip", false, 206, {right, {"Content-Encoding", "gzip"}}, Kind::refused},
           {"another commit",
            true,
            206,
            {right, {"X-Repo-Commit", std::string(40, '9')}},
            Kind::contradicts,
            Code::corrupt},
           {"another commit on the redirect",
            true,
            302,
            {{"X-Repo-Commit", std::string(40, '9')}},
            Kind::contradicts,
            Code::corrupt},
           {"another linked ETag",
            true,
            302,
            {here, {"X-Linked-Etag", '"' + other + '"'}},
            Kind::contradicts,
            Code::corrupt},
           {"another linked size",
            true,
            302,
            {here, {"X-Linked-Size", "7"}},
            Kind::contradicts,
            Code::corrupt},
           {"a redirect's own ETag",
            true,
            302,
            {here, {"ETag", '"' + other + '"'}},
            Kind::redirect},
           {"another ETag",
            true,
            206,
            {right, here, {"ETag", '"' + other + '"'}},
            Kind::contradicts,
            Code::corrupt},
           {"git's ETag for an LFS file",
            true,
            206,
            {right, here, {"ETag", std::string(40, '8')}},
            Kind::accept},
           {"a third party's ETag", true, 206, {right, here, {"ETag", "\"5f-12\""}}, Kind::accept},
           {"416, our size", false, 416, {{"Content-Range", "bytes */1000"}}, Kind::refused},
           {"416, another size",
            false,
            416,
            {{"Content-Range", "bytes */7"}},
            Kind::contradicts,
            Code::corrupt},
           {"store 401", false, 401, {}, Kind::expired},
           {"store 403", false, 403, {}, Kind::expired},
           {"store 404", false, 404, {}, Kind::expired},
           {"store 410", false, 410, {}, Kind::expired},
           {"store 500", false, 500, {}, Kind::refused},
           {"hub 403", true, 403, {}, Kind::refused, Code::denied},
           {"hub 401", true, 401, {}, Kind::refused, Code::needs_login},
           {"hub 404 bare", true, 404, {}, Kind::refused},
           {"hub 404 entry",
            true,
            404,
            {{"X-Error-Code", "EntryNotFound"}},
            Kind::refused,
            Code::not_found},
           {"hub 400", true, 400, {}, Kind::refused},
           {"hub 429", true, 429, {}, Kind::refused, Code::rate_limited},
           {"hub 204", true, 204, {}, Kind::refused},
           {"redirect", true, 307, {here}, Kind::redirect},
           {"304", true, 304, {here}, Kind::refused}}) {
    const auto verdict = check_content(
        kFile, kAsked, {each.status, headers_of(each.headers), each.home, !each.home});
    EXPECT_EQ(verdict.kind, each.kind) << each.name << ": " << verdict.error.message;
    if (each.kind != Kind::accept && each.kind != Kind::redirect) {
      EXPECT_EQ(verdict.error.code, each.code) << each.name;
    }
  }
}

TEST(CheckContent, RangesOfNothing) {
  for (const char* range : {"bytes */1000", "bytes */*"}) {
    // Of the first byte, which is where a range that names none would seem to begin.
    const auto verdict =
        check_content(kFile, {0, 1}, {206, headers_of({{"Content-Range", range}}), false, true});
    EXPECT_EQ(verdict.kind, Kind::refused) << range;
  }
}

TEST(CheckContent, WithoutACommitNobodyIsBelieved) {
  const ContentAnswer portal{200, headers_of({{"Content-Length", "1000"}}), false, false};
  EXPECT_EQ(check_content(kFile, kAsked, portal).kind, Kind::refused);
  // A mirror that sends its own bytes need not name it, if it is no page of a captive portal.
  const ContentAnswer mirror{200, {}, true, false};
  EXPECT_EQ(check_content(kFile, kAsked, mirror).kind, Kind::accept);
  const ContentAnswer page{200, headers_of({{"Content-Type", "text/html; charset=utf-8"}}), true,
                           false};
  EXPECT_EQ(check_content(kFile, kAsked, page).kind, Kind::refused);
  // A mirror that sent us to the Hub: there the commit appears.
  const ContentAnswer hub{
      206, headers_of({{"X-Repo-Commit", kCommit}, {"Content-Range", "bytes 100-149/1000"}}), false,
      false};
  EXPECT_EQ(check_content(kFile, kAsked, hub).kind, Kind::accept);
}

TEST(CheckContent, Delivered) {
  const auto partial = check_content(
      kFile, kAsked, {206, headers_of({{"Content-Range", "bytes 100-149/1000"}}), false, true});
  EXPECT_EQ(partial.delivered, kAsked);
  const auto whole = check_content(kFile, kAsked, {200, {}, false, true});
  EXPECT_EQ(whole.delivered, (ByteRange{0, 1'000}));
}

Answer head(int status, const List& trail, const List& last = {}) {
  Answer answer{.status = status, .headers = headers_of(last), .trail = headers_of(trail)};
  answer.trail.append(answer.headers);
  answer.verdict = status >= 300 && status < 400 ? Verdict::ok : judge(status, answer.headers);
  return answer;
}

TEST(ReadHead, FirstValueWins) {
  const CommitId commit = *CommitId::parse(kCommit);
  const auto linked = read_head(head(200,
                                     {{"X-Repo-Commit", kCommit},
                                      {"X-Linked-Etag", '"' + kLinked + '"'},
                                      {"X-Linked-Size", "7"}},
                                     {{"ETag", "\"x\""}, {"Content-Length", "9"}}),
                                commit, "m");
  ASSERT_TRUE(linked && *linked);
  EXPECT_EQ((*linked)->size, 7u);
  EXPECT_EQ((*linked)->blob->hex(), kLinked);
}

TEST(ReadHead, ARedirectsLengthIsItsOwn) {
  const CommitId commit = *CommitId::parse(kCommit);
  const List told{
      {"X-Repo-Commit", kCommit}, {"X-Linked-Etag", kLinked}, {"Content-Length", "300"}};
  EXPECT_EQ(read_head(head(302, told), commit, "m").error().code, Code::unsupported);
  EXPECT_EQ((*read_head(head(200, {}, told), commit, "m"))->size, 300u);
}

TEST(ReadHead, MissingAndForeign) {
  const CommitId commit = *CommitId::parse(kCommit);
  EXPECT_FALSE(*read_head(head(404, {}, {{"X-Error-Code", "EntryNotFound"}}), commit, "m"));
  EXPECT_FALSE(*read_head(head(404, {{"X-Repo-Commit", kCommit}}), commit, "m"));
  const auto refusal_of = [&](const Answer& answer) -> std::optional<Code> {
    const auto entry = read_head(answer, commit, "m");
    return entry ? std::nullopt : std::optional(entry.error().code);
  };
  EXPECT_EQ(refusal_of(head(404, {})), Code::not_found) << "a page of anybody's";
  EXPECT_EQ(refusal_of(head(404, {{"X-Repo-Commit", std::string(40, '9')}})), Code::not_found);
  EXPECT_EQ(refusal_of(head(401, {}, {{"X-Error-Code", "RepoNotFound"}})), Code::not_found)
      << "some mirrors say so of a missing file: no absence to keep";
  EXPECT_EQ(refusal_of(head(200, {{"ETag", kLinked}})), Code::unreachable);
  EXPECT_EQ(refusal_of(head(200, {{"X-Repo-Commit", std::string(40, '9')}})), Code::unreachable);
}

}  // namespace
}  // namespace hffs::hub
