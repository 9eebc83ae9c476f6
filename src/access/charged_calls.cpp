// SPDX-License-Identifier: Apache-2.0
//
// Whose questions the Hub is asked.
#include "hffs/budget.h"

namespace hffs {
namespace {

thread_local Asker* asking = nullptr;

// Of no use to who asked, and no fault of his.
bool was_not_heard(Code code) {
  return code == Code::unreachable || code == Code::offline || code == Code::timed_out ||
         code == Code::cancelled;
}

class ChargedCalls final : public Origin {
 public:
  ChargedCalls(Origin& origin, Budget& budget) : origin_(origin), budget_(budget) {}

  void fetch_revision(const RepoId& repo, const std::string& revision, Done<RepoInfo> done) override {
    if (auto may = begin(done)) origin_.fetch_revision(repo, revision, std::move(*may));
  }
  void look(const RepoId& repo, Done<RepoInfo> done) override {
    if (auto may = begin(done)) origin_.look(repo, std::move(*may));
  }
  void check_access(const RepoId& repo, Secret token, Done<void> done) override {
    // Or who may ask no more would keep what he was let into.
    origin_.check_access(repo, std::move(token), std::move(done));
  }
  void ask_name(Secret token, Done<std::string> done) override {
    if (auto may = begin(done)) origin_.ask_name(std::move(token), std::move(*may));
  }
  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string& cursor,
                       Done<TreePage> done) override {
    if (auto may = begin(done)) origin_.fetch_tree_page(repo, commit, cursor, std::move(*may));
  }
  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override {
    if (auto may = begin(done))
      origin_.fetch_paths(repo, commit, std::move(paths), std::move(*may));
  }
  void fetch_refs(const RepoId& repo, Done<RefList> done) override {
    if (auto may = begin(done)) origin_.fetch_refs(repo, std::move(*may));
  }
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    return origin_.fetch_range(file, range, std::move(sink));
  }
  std::vector<Health> health() const override { return origin_.health(); }
  std::optional<std::uint32_t> files_left() const override { return origin_.files_left(); }
  void note_wrong(const BlobId& blob, std::uint64_t size) override { origin_.note_wrong(blob, size); }

 private:
  // What the call is to answer to; nothing where that has been told that it may not be.
  template <class T>
  std::optional<Done<T>> begin(Done<T>& done) {
    Asker* const asker = Asking::now();
    if (asker == nullptr) return std::move(done);
    const uid_t user = asker->caller.uid;
    auto may = budget_.may_fetch(asker->caller);
    if (may) may = budget_.take_request(user);
    if (!may) {
      asker->refuse(may.error());
      // Others may have joined the question, and are to ask again: one code tells them.
      done(fail(Code::over_quota, "{}", may.error().message));
      return {};
    }
    return Done<T>([&budget = budget_, user, done = std::move(done)](Result<T> answer) mutable {
      if (!answer && was_not_heard(answer.error().code)) budget.give_request_back(user);
      done(std::move(answer));
    });
  }

  Origin& origin_;
  Budget& budget_;
};

}  // namespace

Asking::Asking(std::shared_ptr<Asker> asker)
    : asker_(std::move(asker)), before_(std::exchange(asking, asker_.get())) {}

Asking::~Asking() { asking = before_; }

Asker* Asking::now() { return asking; }

std::unique_ptr<Origin> charge_calls(Origin& origin, Budget& budget) {
  return std::make_unique<ChargedCalls>(origin, budget);
}

}  // namespace hffs
