// SPDX-License-Identifier: Apache-2.0
//
// What `hf download` says, as its versions take it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "download_watch.h"

namespace hffs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Words = std::vector<std::string>;

TEST(DownloadWords, TheRepositoryItsKindAndItsRevision) {
  const auto plain = parse_download({"/usr/bin/python3", "/home/me/venv/bin/hf", "download", "acme/model"});
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->repo.text(), "acme/model");
  EXPECT_EQ(plain->revision, "main");
  EXPECT_THAT(plain->files.include, IsEmpty());
  const auto data = parse_download({"huggingface-cli", "download", "--repo-type", "dataset", "acme/rows", "--revision=v1"});
  ASSERT_TRUE(data);
  EXPECT_EQ(data->repo.text(), "datasets/acme/rows");
  EXPECT_EQ(data->revision, "v1");
}

TEST(DownloadWords, PatternsOfBothKindsAndNamesOfFiles) {
  const auto many = parse_download({"hf", "download", "acme/model", "--include", "*.json", "*.txt", "--exclude", "*.bin", "x/*"});
  ASSERT_TRUE(many);
  EXPECT_THAT(many->files.include, ElementsAre("*.json", "*.txt"));
  EXPECT_THAT(many->files.exclude, ElementsAre("*.bin", "x/*"));
  const auto names = parse_download({"hf", "download", "--token", "hf_secret", "acme/model", "a.json", "b.json", "--quiet", "-q"});
  ASSERT_TRUE(names);
  EXPECT_EQ(names->repo.text(), "acme/model");
  EXPECT_THAT(names->files.include, ElementsAre("a.json", "b.json"));
  // Names leave no room for patterns, as in 2.4; the name behind a pattern is one.
  const auto both = parse_download({"hf", "download", "acme/model", "--exclude", "*.bin", "config.json"});
  ASSERT_TRUE(both);
  EXPECT_THAT(both->files.include, ElementsAre("config.json"));
  EXPECT_THAT(both->files.exclude, IsEmpty());
}

TEST(DownloadWords, ByItsAddress) {
  const auto address = parse_download({"hf", "download", "hf://datasets/acme/rows@v2"});
  ASSERT_TRUE(address);
  EXPECT_EQ(address->repo.text(), "datasets/acme/rows");
  EXPECT_EQ(address->revision, "v2");
}

TEST(DownloadWords, MoreThanAPersonWritesIsNone) {
  Words words{"hf", "download", "acme/model"};
  for (int i = 0; i < 100; ++i) words.push_back("file" + std::to_string(i));
  EXPECT_FALSE(parse_download(words));
  EXPECT_FALSE(parse_download({"hf", "download", "acme/model", "--revision", "a\nb"}));
}

TEST(DownloadWords, WhatDoesNotFillTheCacheIsNone) {
  for (const Words& words : {Words{"hf", "download", "acme/model", "--local-dir", "x"}, Words{"hf", "download", "acme/model", "--dry-run"},
                             Words{"hf", "download", "acme/model", "--local-dir=x"}, Words{"hf", "download"},
                             Words{"hf", "upload", "acme/model"}, Words{"python", "train.py", "hf", "download", "acme/model"},
                             Words{"vi", "download", "acme/model"}, Words{}, Words{"hf"}, Words{"hf", "download", "a b"},
                             Words{"hf", "download", "--repo-type", "planet", "acme/model"}})
    EXPECT_FALSE(parse_download(words)) << (words.empty() ? "" : words.back());
}

}  // namespace
}  // namespace hffs
