// SPDX-License-Identifier: Apache-2.0
//
// A Hub in memory, and all that it ever said: repositories come, change their refs, go and return; commits are for
// ever. Threads: the origin's answers are given by one of its own; it changes between two answers.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "fs_fixture.h"
#include "manual_clock.h"
#include "temporary.h"
#include "trial.h"

namespace hffs::test {

inline const std::vector<std::string>& known_texts() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> made;
    for (std::size_t i = 0; i < 12; ++i) {
      Dice dice{4'242, i};
      std::string text(i == 11 ? kBlockSize + 77 : i * i * 41, ' ');
      for (char& each : text) each = static_cast<char>('a' + dice.below(26));
      made.push_back(std::move(text));
    }
    return made;
  }();
  return all;
}
inline const BlobId& id_of_text(std::size_t which) {
  static const std::vector<BlobId> all = [] {
    std::vector<BlobId> made;
    for (std::size_t i = 0; i < known_texts().size(); ++i)
      made.push_back(id_of(std::as_bytes(std::span(known_texts()[i])),
                           i % 2 == 0 ? BlobId::Kind::git_sha1 : BlobId::Kind::sha256));
    return made;
  }();
  return all.at(which);
}

using Tree = std::map<std::string, std::size_t>;  // path → text

struct HubRepo {
  bool there = true;
  Instant since{};  // when it came or went last
  std::map<std::string, std::string> refs;
  // Of each ref what it has been, by the time it became so; empty: it was not there.
  std::map<std::string, std::vector<std::pair<Instant, std::string>>> history;
  std::map<std::string, Tree> commits;
  std::map<std::string, Instant> made;  // commits: when
};

class SimulatedHub {
 public:
  explicit SimulatedHub(const Clock& clock) : clock_(clock) {
    for (std::size_t i = 0; i < known_texts().size(); ++i) bytes.content[id_of_text(i).hex()] = known_texts()[i];
    names.fault = [this](const std::string&) -> std::optional<Error> {
      if (Dice{99, calls_++}.chance(fault_percent)) return Error{Code::unreachable, "the Hub is away", {}};
      return std::nullopt;
    };
  }

  std::map<std::string, HubRepo> repos;  // changed with publish() after it
  FakeOrigin names;
  ByteOrigin bytes{names};
  std::atomic<unsigned> fault_percent = 0;

  std::string push(const std::string& name, const std::string& ref, Tree tree) {
    HubRepo& repo = repos[name];
    std::string commit = fmt::format("{:040x}", 0xabc000 + ++commits_);
    repo.made[commit] = clock_.now();
    repo.commits[commit] = std::move(tree);
    set_ref(name, ref, commit);
    return commit;
  }
  void set_ref(const std::string& name, const std::string& ref, const std::string& commit) {
    HubRepo& repo = repos[name];
    if (commit.empty())
      repo.refs.erase(ref);
    else
      repo.refs[ref] = commit;
    repo.history[ref].emplace_back(clock_.now(), commit);
  }
  void publish() {
    std::map<std::string, FakeOrigin::Repo> said;
    for (const auto& [name, repo] : repos) {
      if (!repo.there) continue;
      FakeOrigin::Repo& its = said[name];
      its.refs = repo.refs;
      for (const auto& [commit, tree] : repo.commits) {
        its.refs[commit] = commit;  // a whole commit is a revision, too
        auto& entries = its.trees[commit];
        std::set<std::string> directories;
        for (const auto& [path, text] : tree) {
          for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
            if (directories.insert(path.substr(0, slash)).second)
              entries.push_back({.kind = TreeEntry::Kind::directory, .path = path.substr(0, slash)});
          entries.push_back({.path = path, .size = known_texts()[text].size(), .blob = id_of_text(text)});
        }
      }
    }
    names.change([&] { names.repos = std::move(said); });
  }

 private:
  const Clock& clock_;
  std::uint64_t commits_ = 0;
  std::atomic<std::uint64_t> calls_ = 0;
};

}  // namespace hffs::test
