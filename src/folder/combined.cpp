// SPDX-License-Identifier: Apache-2.0
//
// Several origins as one.
#include <ranges>

#include "hffs/folder_origin.h"
#include "hffs/guarded.h"

namespace hffs {
namespace folder {
namespace {

// It cannot be asked now, or does not have it. Any other answer of the Hub is one.
bool gives_way(const Error& error) {
  return info(error.code).retry_helps || error.code == Code::offline ||
         error.code == Code::not_found;
}

// What both together mean: what may still be had is not absent.
Error join(Error first, Error second) {
  const auto rank = [](const Error& error) {
    if (info(error.code).retry_helps) return 2;
    return error.code == Code::not_found ? 0 : 1;
  };
  const std::string message = fmt::format("{}; {}", first.message, second.message);
  Error& worse = rank(second) > rank(first) ? second : first;
  worse.message = message;
  return std::move(worse);
}

// One question, asked of one origin after the other until one has the answer.
template <class T>
class Walk : public std::enable_shared_from_this<Walk<T>> {
 public:
  using Ask = std::move_only_function<void(Origin&, Done<T>)>;
  using IsAnswer = bool (*)(const T&);

  // `hub`: the first of them is the Hub.
  Walk(std::vector<Origin*> origins, bool hub, Ask ask, IsAnswer is_answer, Done<T> done)
      : origins_(std::move(origins)),
        hub_(hub),
        ask_(std::move(ask)),
        is_answer_(is_answer),
        done_(std::move(done)) {}

  void next() {
    Origin& origin = *origins_[at_++];
    ask_(origin, [self = this->shared_from_this()](Result<T> result) {
      self->hear(std::move(result));
    });
  }

 private:
  void hear(Result<T> result) {
    const bool last = at_ == origins_.size();
    if (result && is_answer_(*result)) return done_(std::move(result));
    if (result && !answer_) answer_ = std::move(*result);
    if (!result) {
      if (hub_ && at_ == 1 && !gives_way(result.error())) return done_(std::move(result));
      error_ = error_ ? join(std::move(*error_), std::move(result.error()))
                      : std::move(result.error());
    }
    if (!last) return next();
    if (answer_) return done_(std::move(*answer_));
    done_(fail(std::move(*error_)));
  }

  const std::vector<Origin*> origins_;
  const bool hub_;
  Ask ask_;
  const IsAnswer is_answer_;
  Done<T> done_;
  std::size_t at_ = 0;
  std::optional<T> answer_;  // "it is not there", of who has the repository
  std::optional<Error> error_;
};

// One range, asked of one origin after the other until one begins to give it.
class RangeWalk final : public RangeFetch, public std::enable_shared_from_this<RangeWalk> {
 public:
  RangeWalk(std::vector<Origin*> origins, FileSource file, ByteRange range,
            std::shared_ptr<RangeSink> sink)
      : origins_(std::move(origins)),
        file_(std::move(file)),
        range_(range),
        sink_(std::move(sink)) {}

  void next();
  void resume() override {
    if (const auto fetch = current()) fetch->resume();
  }
  void cancel() override {
    state_.lock()->cancelled = true;
    if (const auto fetch = current()) fetch->cancel();
  }

 private:
  class Sink;
  struct State {
    std::shared_ptr<RangeFetch> fetch;
    std::size_t asked = 0;  // which origin `fetch` is of
    bool cancelled = false;
  };
  std::shared_ptr<RangeFetch> current() { return state_.lock()->fetch; }
  void ended(bool started, Result<void> result);

  const std::vector<Origin*> origins_;
  const FileSource file_;
  const ByteRange range_;
  const std::shared_ptr<RangeSink> sink_;
  Guarded<State> state_;
  std::size_t at_ = 0;
  std::optional<Error> error_;
};

class RangeWalk::Sink final : public RangeSink {
 public:
  explicit Sink(std::shared_ptr<RangeWalk> walk) : walk_(std::move(walk)) {}
  void on_start(ByteRange delivered) override {
    started_ = true;
    walk_->sink_->on_start(delivered);
  }
  Flow on_data(std::uint64_t offset, std::span<const std::byte> bytes) override {
    return walk_->sink_->on_data(offset, bytes);
  }
  void on_done(Result<void> result) override { walk_->ended(started_, std::move(result)); }

 private:
  const std::shared_ptr<RangeWalk> walk_;
  bool started_ = false;
};

void RangeWalk::next() {
  const std::size_t number = ++at_;
  auto fetch = origins_[number - 1]->fetch_range(file_, range_,
                                                 std::make_shared<Sink>(shared_from_this()));
  bool cancelled = false;
  {
    auto state = state_.lock();
    // It may have ended, and the next been asked, before it had a handle.
    if (state->asked < number) {
      state->asked = number;
      state->fetch = fetch;
    }
    cancelled = state->cancelled;
  }
  if (cancelled && fetch) fetch->cancel();
}

void RangeWalk::ended(bool started, Result<void> result) {
  // Its handle keeps the range, and that may keep us.
  std::shared_ptr<RangeFetch> over;
  if (auto state = state_.lock(); state->asked == at_) over = std::move(state->fetch);
  if (result || result.error().code == Code::cancelled) return sink_->on_done(std::move(result));
  const bool last = at_ == origins_.size();
  // Whoever wants the rest asks again, and by then it is known who cannot give it.
  if (started && !last)
    return sink_->on_done(fail(Code::unreachable, "{}", result.error().message));
  error_ = error_ ? join(std::move(*error_), std::move(result.error())) : std::move(result.error());
  if (!last && !state_.lock()->cancelled) return next();
  sink_->on_done(fail(std::move(*error_)));
}

class Combined final : public Origin {
 public:
  Combined(std::vector<std::unique_ptr<Origin>> folders, std::unique_ptr<Origin> hub)
      : folders_(std::move(folders)), hub_(std::move(hub)) {}

  void fetch_revision(const RepoId& repo, const std::string& revision,
                      Done<RepoInfo> done) override {
    ask<RepoInfo>(
        [repo, revision](Origin& origin, Done<RepoInfo> then) {
          origin.fetch_revision(repo, revision, std::move(then));
        },
        // The Hub's "no such revision" is an answer, a folder's is that folder's alone.
        [](const RepoInfo& said) { return said.commit || !said.attested_by; }, std::move(done));
  }
  void look(const RepoId& repo, Done<RepoInfo> done) override {
    ask<RepoInfo>(
        [repo](Origin& origin, Done<RepoInfo> then) { origin.look(repo, std::move(then)); },
        [](const RepoInfo&) { return true; }, std::move(done));
  }
  void check_access(const RepoId& repo, Secret token, Done<void> done) override {
    if (!hub_) return Origin::check_access(repo, std::move(token), std::move(done));
    hub_->check_access(repo, std::move(token), std::move(done));
  }
  void ask_name(Secret token, Done<std::string> done) override {
    if (!hub_) return Origin::ask_name(std::move(token), std::move(done));
    hub_->ask_name(std::move(token), std::move(done));
  }
  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string& cursor,
                       Done<TreePage> done) override {
    ask<TreePage>(
        [repo, commit, cursor](Origin& origin, Done<TreePage> then) {
          origin.fetch_tree_page(repo, commit, cursor, std::move(then));
        },
        [](const TreePage&) { return true; }, std::move(done));
  }
  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override {
    // They are parts of a tree that somebody has begun to list. A folder gives trees as a whole.
    if (hub_) return hub_->fetch_paths(repo, commit, std::move(paths), std::move(done));
    ask<std::vector<TreeEntry>>(
        [repo, commit, paths = std::move(paths)](Origin& origin, auto then) {
          origin.fetch_paths(repo, commit, paths, std::move(then));
        },
        [](const std::vector<TreeEntry>&) { return true; }, std::move(done));
  }
  void fetch_refs(const RepoId& repo, Done<RefList> done) override {
    ask<RefList>(
        [repo](Origin& origin, Done<RefList> then) { origin.fetch_refs(repo, std::move(then)); },
        [](const RefList&) { return true; }, std::move(done));
  }
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    std::vector<Origin*> origins = every_folder();
    if (hub_) origins.push_back(hub_.get());
    const auto walk =
        std::make_shared<RangeWalk>(std::move(origins), file, range, std::move(sink));
    walk->next();
    return walk;
  }

  std::vector<Health> health() const override {
    std::vector<Health> all;
    for (const auto& folder : folders_) std::ranges::move(folder->health(), std::back_inserter(all));
    if (hub_) std::ranges::move(hub_->health(), std::back_inserter(all));
    return all;
  }
  std::optional<std::uint32_t> files_left() const override {
    return hub_ ? hub_->files_left() : std::nullopt;
  }
  void note_wrong(const BlobId& blob, std::uint64_t size) override {
    for (const auto& folder : folders_) folder->note_wrong(blob, size);
  }
  void stop() override {
    if (hub_) hub_->stop();
    for (const auto& folder : folders_) folder->stop();
  }

 private:
  std::vector<Origin*> every_folder() const {
    std::vector<Origin*> origins;
    for (const auto& folder : folders_) origins.push_back(folder.get());
    return origins;
  }
  template <class T>
  void ask(typename Walk<T>::Ask question, typename Walk<T>::IsAnswer is_answer, Done<T> done) {
    std::vector<Origin*> origins = every_folder();
    if (hub_) origins.insert(origins.begin(), hub_.get());
    std::make_shared<Walk<T>>(std::move(origins), hub_ != nullptr, std::move(question), is_answer,
                              std::move(done))
        ->next();
  }

  const std::vector<std::unique_ptr<Origin>> folders_;
  const std::unique_ptr<Origin> hub_;
};

}  // namespace
}  // namespace folder

std::unique_ptr<Origin> combine(std::vector<std::unique_ptr<Origin>> folders,
                                std::unique_ptr<Origin> hub) {
  return std::make_unique<folder::Combined>(std::move(folders), std::move(hub));
}

}  // namespace hffs
