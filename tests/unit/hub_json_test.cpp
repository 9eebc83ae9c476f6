// SPDX-License-Identifier: Apache-2.0
// The Hub's JSON, honest and hostile.
#include <gtest/gtest.h>

#include "answers.h"

namespace hffs::hub {
namespace {

const RepoId kRepo = *RepoId::parse_user("acme/tiny");
const std::string kSha1(40, 'b');
const std::string kSha256(64, 'a');

std::string entry(const std::string& path, const std::string& more = {},
                  const std::string& size = "3") {
  return R"({"type":"file","path":")" + path + R"(","oid":")" + kSha1 + R"(","size":)" + size +
         more + "}";
}
// The paths that were let in; nothing: the page was refused.
std::optional<std::vector<std::string>> names(const std::string& items) {
  const auto entries = parse_entries(kRepo, "[" + items + "]");
  if (!entries) {
    EXPECT_EQ(entries.error().code, Code::unreachable);
    return std::nullopt;
  }
  std::vector<std::string> result;
  for (const auto& each : *entries) result.push_back(each.path);
  return result;
}

TEST(Entries, FilesDirectoriesAndLfs) {
  const auto entries = parse_entries(
      kRepo, "[" + entry("a.txt") + R"(,{"type":"directory","path":"d","oid":"x","size":0},)" +
                 entry("d/m.bin",
                       R"(,"xetHash":"x","lfs":{"oid":")" + kSha256 +
                           R"(","size":5000000000,"pointerSize":130})",
                       "130") +
                 "]");
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].blob->hex(), kSha1);
  EXPECT_EQ((*entries)[0].size, 3u);
  EXPECT_EQ((*entries)[1].kind, TreeEntry::Kind::directory);
  EXPECT_FALSE((*entries)[1].blob);
  EXPECT_EQ((*entries)[2].blob->hex(), kSha256);
  EXPECT_EQ((*entries)[2].size, 5'000'000'000u);
  EXPECT_TRUE(parse_entries(kRepo, "[]")->empty());
}

TEST(Entries, Sha256AtTheTop) {
  const auto entries =
      parse_entries(kRepo, R"([{"type":"file","path":"m","oid":")" + kSha256 +
                               R"(","size":9,"lfs":{"oid":")" + kSha256 + R"(","size":9}}])");
  ASSERT_TRUE(entries);
  EXPECT_EQ(entries->at(0).blob->kind(), BlobId::Kind::sha256);
}

TEST(Entries, HostileOnesAreLeftOut) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"dot dot", entry("../evil")},
      {"dot dot inside", entry("a/../../evil")},
      {"absolute", entry("/etc/evil")},
      {"empty", entry("")},
      {"empty component", entry("a//evil")},
      {"dot", entry("./evil")},
      {"slash at the end", entry("evil/")},
      {"nul", entry("ev\\u0000il")},
      {"newline", entry("ev\\nil")},
      {"long name", entry(std::string(256, 'e'))},
      {"long path", entry(std::string(5'000, 'e'))},
      {"negative size", entry("evil", "", "-3")},
      {"huge size", entry("evil", "", "1180591620717411303424")},
      {"size near overflow", entry("evil", "", "18446744073709551615")},
      {"text for a size", entry("evil", "", "\"3\"")},
      {"fraction", entry("evil", "", "3.5")},
      {"no size", R"({"type":"file","path":"evil","oid":")" + kSha1 + "\"}"},
      {"no oid", R"({"type":"file","path":"evil","size":3})"},
      {"bad oid", R"({"type":"file","path":"evil","size":3,"oid":"../../x"})"},
      {"prefixed lfs oid", entry("evil", R"(,"lfs":{"oid":"sha256:)" + kSha256 + R"(","size":3})")},
      {"sha1 for an lfs oid", entry("evil", R"(,"lfs":{"oid":")" + kSha1 + R"(","size":3})")},
      {"lfs is a list", entry("evil", R"(,"lfs":[])")},
      {"odd type", R"({"type":"fifo","path":"evil"})"},
      {"submodule", R"({"type":"commit","path":"evil","oid":"x","size":0})"},
      {"directory out of the tree", R"({"type":"directory","path":"../evil"})"}};
  for (const auto& [name, item] : cases)
    EXPECT_EQ(names(entry("good") + "," + item), std::vector<std::string>{"good"}) << name;
}

TEST(Entries, NoNameIsFileAndDirectory) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(entry("both") + "," + entry("both/evil")), Names{"both"});
  EXPECT_EQ(names(entry("both/evil") + "," + entry("both")), Names{"both/evil"});
  EXPECT_EQ(names(entry("both") + R"(,{"type":"directory","path":"both"})"), Names{"both"});
  EXPECT_EQ(names(R"({"type":"directory","path":"both"},)" + entry("both")), Names{"both"});
  EXPECT_EQ(names(entry("twice") + "," + entry("twice", "", "4")), Names{"twice"});
  EXPECT_EQ(names(entry("a/b/c") + "," + entry("a/b/d") + "," + entry("a/e") +
                  R"(,{"type":"directory","path":"a/b"})"),
            (Names{"a/b/c", "a/b/d", "a/e", "a/b"}));
}

TEST(Entries, WhatIsNoTreeIsRefused) {
  for (const std::string& items :
       {std::string("null"), std::string("7"), std::string("\"x\""), std::string("[]"),
        std::string("{}"), std::string(R"({"type":"file"})"), std::string(R"({"path":"x"})"),
        std::string(R"({"type":"file","path":7})"),
        std::string(R"({"type":"file","path":"\ud800","oid":"x"})"), std::string("{"),
        std::string(100'000, '[')})
    EXPECT_EQ(names(items), std::nullopt) << items.substr(0, 60);
  for (const std::string body : {"", "{}", "null", "7", "<html>", "[", "[1,"})
    EXPECT_FALSE(parse_entries(kRepo, body)) << body;
  std::string deep;
  for (int i = 0; i < 50'000; ++i) deep += "{\"a\":";
  EXPECT_FALSE(parse_entries(kRepo, deep));
  std::string wide = "[";
  for (int i = 0; i < 3'100'000; ++i) wide += "[],";
  EXPECT_FALSE(parse_entries(kRepo, wide + "[]]"));
  EXPECT_FALSE(parse_entries(kRepo, "[\"\xff\xfe\"]"));
}

TEST(Info, GatedAndPrivate) {
  const auto info = [](const std::string& more) {
    return *parse_repo_info(kRepo, R"({"sha":")" + std::string(64, 'c') + "\"" + more + "}");
  };
  EXPECT_EQ(info("").id, kRepo);
  EXPECT_EQ(info("").commit->hex().size(), 64u);
  EXPECT_FALSE(info(R"(,"gated":false,"private":false)").is_gated);
  EXPECT_TRUE(info(R"(,"gated":"auto")").is_gated);
  EXPECT_TRUE(info(R"(,"gated":"manual","private":true)").is_private);
  EXPECT_EQ(info(R"(,"id":"acme/new")").id.text(), "acme/new");
  EXPECT_EQ(info(R"(,"lastModified":"yesterday")").last_modified, WallTime{});
}

TEST(Info, Refused) {
  for (const std::string body : {R"({"id":"acme/x"})", R"({"sha":"main"})", R"({"sha":null})",
                                 R"({"sha":["x"]})", R"({"error":"x"})"})
    EXPECT_FALSE(parse_repo_info(kRepo, body)) << body;
}

// In a field that nobody reads: what is built of it would take the memory all the same.
TEST(Info, WithoutBounds) {
  const auto with = [](const std::string& more) {
    return R"({"id":"acme/x","sha":")" + std::string(40, 'c') + R"(","more":)" + more + "}";
  };
  EXPECT_TRUE(parse_repo_info(kRepo, with(std::string(20, '[') + std::string(20, ']'))));
  EXPECT_FALSE(parse_repo_info(kRepo, with(std::string(40, '[') + std::string(40, ']'))));
  EXPECT_TRUE(parse_repo_info(kRepo, with('"' + std::string(40, '[') + '"'))) << "a text";
  std::string many = "[0";
  for (int i = 0; i < 3'000'000; ++i) many += ",0";
  EXPECT_FALSE(parse_repo_info(kRepo, with(many + "]")));
}

TEST(Refs, BadOnesAreLeftOut) {
  const std::string commit(40, 'c');
  const auto list = parse_refs(
      kRepo,
      R"({"branches":[7,{},{"name":"a","targetCommit":"x"},{"name":"../b","targetCommit":")" +
          commit + R"("},{"name":"main","targetCommit":")" + commit +
          R"("}],"tags":7,"converts":null})");
  ASSERT_TRUE(list);
  ASSERT_EQ(list->refs.size(), 1u);
  EXPECT_EQ(list->refs[0].revision, "main");
  EXPECT_FALSE(parse_refs(kRepo, "{}"));
}

}  // namespace
}  // namespace hffs::hub
