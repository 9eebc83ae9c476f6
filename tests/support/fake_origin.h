// SPDX-License-Identifier: Apache-2.0
//
// FakeOrigin: an Origin in memory whose answers a test scripts and whose calls it counts. Answers
// come on a thread of its own, like a real origin's.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "hffs/hub.h"

namespace hffs::test {

class FakeOrigin final : public Origin {
 public:
  FakeOrigin() : thread_([this] { run(); }) {}
  ~FakeOrigin() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  struct Repo {
    std::map<std::string, std::string> refs;              // revision → commit
    std::map<std::string, std::vector<TreeEntry>> trees;  // commit → entries
    std::string canonical;                                // after a rename
  };
  std::map<std::string, Repo> repos;  // by RepoId::text(); while something may be asked: change()
  std::size_t page_size = 1'000;
  std::optional<std::uint32_t> attested_by;  // it is a folder that lists trees
  std::function<std::optional<Error>(const std::string& call)> fault;  // before an answer
  std::function<void(const std::string& call)> on_the_way;  // while an answer travels

  // Between two answers, on the thread that gives them; returns when it is done.
  void change(std::function<void()> what) {
    std::promise<void> done;
    post([&] {
      what();
      done.set_value();
    });
    done.get_future().wait();
  }

  int count(const std::string& call) {
    std::lock_guard lock(mutex_);
    return calls_[call];
  }
  int total() {
    std::lock_guard lock(mutex_);
    int sum = 0;
    for (const auto& [name, times] : calls_) sum += times;
    return sum;
  }

  void fetch_revision(const RepoId& repo, const std::string& revision,
                      Done<RepoInfo> done) override {
    answer<RepoInfo>("revision", std::move(done), [this, repo, revision]() -> Result<RepoInfo> {
      const auto found = repos.find(repo.text());
      if (found == repos.end()) return fail(Code::not_found, "no repository {}", repo.text());
      const std::string& canonical = found->second.canonical;
      RepoInfo info{.id = canonical.empty() ? repo : *RepoId::parse_user(canonical)};
      const auto ref = found->second.refs.find(revision);
      if (ref != found->second.refs.end()) info.commit = *CommitId::parse(ref->second);
      return info;
    });
  }

  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string& cursor,
                       Done<TreePage> done) override {
    answer<TreePage>("tree", std::move(done), [this, repo, commit, cursor]() -> Result<TreePage> {
      const auto* tree = find_tree(repo, commit);
      if (tree == nullptr) return fail(Code::not_found, "no commit {}", commit.hex());
      TreePage page{.attested_by = attested_by};
      const std::size_t first = cursor.empty() ? 0 : std::stoul(cursor);
      const std::size_t last = std::min(tree->size(), first + page_size);
      page.entries.assign(tree->begin() + static_cast<long>(first),
                          tree->begin() + static_cast<long>(last));
      if (last < tree->size()) page.next = std::to_string(last);
      return page;
    });
  }

  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override {
    answer<std::vector<TreeEntry>>(
        "paths", std::move(done), [this, repo, commit, paths]() -> Result<std::vector<TreeEntry>> {
          const auto* tree = find_tree(repo, commit);
          if (tree == nullptr) return fail(Code::not_found, "no commit {}", commit.hex());
          std::vector<TreeEntry> found;
          for (const auto& path : paths) {
            for (const auto& entry : *tree) {
              if (entry.path == path) found.push_back(entry);
              if (entry.path.starts_with(path + "/")) {
                found.push_back({.kind = TreeEntry::Kind::directory, .path = path});
                break;
              }
            }
          }
          return found;
        });
  }

  void fetch_refs(const RepoId& repo, Done<RefList> done) override {
    answer<RefList>("refs", std::move(done), [this, repo]() -> Result<RefList> {
      RefList list;
      const auto found = repos.find(repo.text());
      if (found == repos.end()) return fail(Code::not_found, "no repository {}", repo.text());
      for (const auto& [name, commit] : found->second.refs)
        list.refs.push_back({name, *CommitId::parse(commit)});
      return list;
    });
  }

  std::shared_ptr<RangeFetch> fetch_range(const FileSource&, ByteRange,
                                          std::shared_ptr<RangeSink> sink) override {
    post([sink] { sink->on_done(fail(Code::unsupported, "no bytes here")); });
    return nullptr;
  }
  std::vector<Health> health() const override { return {{"fake:", true, ""}}; }

 private:
  const std::vector<TreeEntry>* find_tree(const RepoId& repo, const CommitId& commit) {
    const auto found = repos.find(repo.text());
    if (found == repos.end()) return nullptr;
    const auto tree = found->second.trees.find(commit.hex());
    return tree == found->second.trees.end() ? nullptr : &tree->second;
  }

  template <class T>
  void answer(const std::string& call, Done<T> done, std::function<Result<T>()> make) {
    {
      std::lock_guard lock(mutex_);
      ++calls_[call];
    }
    post([this, call, done = std::move(done), make = std::move(make)]() mutable {
      if (fault)
        if (auto error = fault(call)) return done(fail(std::move(*error)));
      auto result = make();
      if (on_the_way) on_the_way(call);
      done(std::move(result));
    });
  }
  void post(std::move_only_function<void()> task) {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::move_only_function<void()>> tasks_;
  std::map<std::string, int> calls_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace hffs::test
