// SPDX-License-Identifier: Apache-2.0
// What people type for a repository. The commands themselves are asked for by tests/mount.
#include <gtest/gtest.h>

#include "repo_at.h"

namespace hffs::cli {
namespace {

std::string understood(const std::string& text) {
  const auto parsed = parse_repo_at(text);
  return parsed ? parsed->text() : "";
}

TEST(RepoAt, AsPeopleWriteIt) {
  const std::string commit(40, 'a');
  for (const auto& [text, meant] : std::initializer_list<std::pair<std::string, std::string>>{
           {"acme/tiny", "acme/tiny"},
           {"datasets/acme/rows@v1.0", "datasets/acme/rows@v1.0"},
           {"https://huggingface.co/acme/tiny/blob/refs%2Fpr%2F1/a.txt", "acme/tiny@refs/pr/1"},
           {"hf://datasets/acme/rows@main/a.txt", "datasets/acme/rows@main"},
           {"/mnt/hub/models--acme--tiny/snapshots/" + commit + "/sub", "acme/tiny@" + commit},
           {"hub/models--acme--tiny/refs/pr/1", "acme/tiny@pr/1"},
           {"../x", ""},
           {"acme/tiny@", ""},
           {"acme/tiny@a/../b", ""}})
    EXPECT_EQ(understood(text), meant) << text;
}

// The revision is a name that the Hub gives.
TEST(RepoAt, ARefThatLooksLikeAPathNamesNoOtherRepository) {
  for (const std::string text : {"acme/tiny@x/models--evil--twin", "acme/tiny@x/models--evil--twin/refs/main",
                                 "datasets/acme/rows@x/datasets--evil--twin/snapshots/main"})
    EXPECT_EQ(understood(text), text);
  EXPECT_EQ(understood("./cache@home/models--acme--tiny"), "acme/tiny");
}

}  // namespace
}  // namespace hffs::cli
