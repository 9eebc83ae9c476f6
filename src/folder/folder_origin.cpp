// SPDX-License-Identifier: Apache-2.0
#include "folder_origin.h"

#include <algorithm>
#include <future>

namespace hffs {
namespace folder {
namespace {

constexpr std::chrono::milliseconds kFarewell{500};

}  // namespace

FolderOrigin::FolderOrigin(FolderOptions options, Metrics& metrics)
    : options_(std::move(options)),
      metrics_(metrics),
      health_({.endpoint = "file://" + options_.path, .last_error = {}}),
      readers_(options_.readers),
      hashers_(options_.hashers) {}

void FolderOrigin::start() {
  post([self = shared_from_this()] { self->probe(); });
}

bool FolderOrigin::post(std::move_only_function<void()> task) {
  auto stopped = stopped_.lock();
  if (!*stopped) loop_.after(std::chrono::milliseconds(0), std::move(task));
  return !*stopped;
}

void FolderOrigin::stop() {
  std::promise<void> said;
  const bool posted = post([&] {
    *stopped_.lock() = true;
    fail_calls([](const Call&) { return Error{Code::cancelled, "shutting down", {}}; });
    hashing_.clear();
    said.set_value();
  });
  if (posted) said.get_future().wait();
  loop_.stop();
  for (IoThreads* each : {&readers_, &hashers_, &prober_}) each->stop(kFarewell / 3);
}

std::uint64_t FolderOrigin::enter(Call call) {
  calls_.emplace(++last_call_, std::move(call));
  keep_watching();
  return last_call_;
}

bool FolderOrigin::leave(std::uint64_t id) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) return false;
  *call->second.wanted = false;
  calls_.erase(call);
  return true;
}

void FolderOrigin::fail_calls(const std::function<std::optional<Error>(const Call&)>& why) {
  std::vector<std::pair<std::move_only_function<void(Error)>, Error>> failed;
  for (auto item = calls_.begin(); item != calls_.end();) {
    Call& call = item->second;
    auto error = why(call);
    if (!error) {
      ++item;
      continue;
    }
    *call.wanted = false;
    failed.emplace_back(std::move(call.fail), std::move(*error));
    item = calls_.erase(item);
  }
  for (auto& [fail, error] : failed) fail(std::move(error));
}

std::optional<Error> FolderOrigin::refusal(const std::string& place) const {
  if (down_)
    return Error{Code::unreachable, "the folder is down: " + health().last_error,
                 options_.probe_interval};
  if (stuck_.contains(place))
    return Error{Code::timed_out, fmt::format("{}: {} does not answer", options_.path, place), {}};
  return std::nullopt;
}

// --- health

void FolderOrigin::keep_watching() {
  if (std::exchange(watching_, true)) return;
  const auto pulse = std::clamp<std::chrono::milliseconds>(options_.silence / 20,
                                                          std::chrono::milliseconds(10),
                                                          std::chrono::milliseconds(250));
  loop_.after(pulse, [self = shared_from_this()] { self->watch(); });
}

void FolderOrigin::watch() {
  watching_ = false;
  const Instant now = system_clock().now();
  auto silent = readers_.silent(options_.silence);
  all_hang_ = static_cast<int>(silent.size()) >= options_.readers;
  std::ranges::move(hashers_.silent(options_.silence), std::back_inserter(silent));
  stuck_ = {silent.begin(), silent.end()};
  const bool due = now - probe_ended_ >= options_.probe_interval;
  if ((down_ || !stuck_.empty()) && !probing_ && due) probe();
  if (probing_ && now - probe_began_ >= options_.silence * 2 / 5)
    go_down(options_.path + " does not answer: its server hangs, or the network");
  if (all_hang_) go_down("all reads hang");
  fail_calls([&](const Call& call) -> std::optional<Error> {
    if (stuck_.contains(call.place)) return refusal(call.place);
    if (!call.deadline || now < *call.deadline) return std::nullopt;
    return Error{Code::timed_out,
                 fmt::format("{}: no answer for {} within {} ms{}", options_.path, call.place,
                             options_.deadline.count(), call.doing),
                 {}};
  });
  if (down_ || probing_ || !calls_.empty() || !readers_.idle() || !hashers_.idle()) keep_watching();
}

void FolderOrigin::probe() {
  if (std::exchange(probing_, true)) return;
  probe_began_ = system_clock().now();
  keep_watching();
  prober_.run("", [self = shared_from_this()](const Io& io) {
    const auto looked = look_at(self->options_.path, io);
    if (!looked) self->options_.unreadable(self->options_.path);
    self->post([self, looked] { self->probed(looked); });
  });
}

void FolderOrigin::probed(const Result<void>& looked) {
  probing_ = false;
  probe_ended_ = system_clock().now();
  if (!looked) return go_down(looked.error().message);
  if (down_ && !all_hang_) come_up();
}

void FolderOrigin::go_down(const std::string& reason) {
  *health_.lock() = {.endpoint = "file://" + options_.path, .up = false, .last_error = reason};
  if (!std::exchange(down_, true)) log(Level::warn, "folder", "file://{} is down: {}", options_.path, reason);
  fail_calls([&](const Call& call) { return refusal(call.place); });
  keep_watching();
}

void FolderOrigin::complain(const std::string& reason) {
  auto health = health_.lock();
  if (std::exchange(health->last_error, reason) != reason) log(Level::warn, "folder", "{}", reason);
}

void FolderOrigin::come_up() {
  *health_.lock() = {.endpoint = "file://" + options_.path, .last_error = {}};
  down_ = false;
  log(Level::info, "folder", "file://{} answers again", options_.path);
}

// --- names

void FolderOrigin::fetch_revision(const RepoId& repo, const std::string& revision,
                                  Done<RepoInfo> done) {
  using Read = std::optional<RepoInfo>;
  ask<RepoInfo>(
      repo.layout(), std::move(done),
      [self = shared_from_this(), repo, revision](auto question) {
        self->read<Read>(
            self->readers_, question->id, question->place,
            [repo, revision](const Folder& folder, const Io&) {
              return read_revision(folder, repo, revision);
            },
            [self, repo, question](Result<Read> answered) {
              if (!answered) return self->answer<RepoInfo>(question, fail(answered));
              if (*answered) return self->answer<RepoInfo>(question, std::move(**answered));
              self->list_plain(repo, question);
            });
      });
}

void FolderOrigin::fetch_refs(const RepoId& repo, Done<RefList> done) {
  ask<RefList>(repo.layout(), std::move(done), [self = shared_from_this(), repo](auto question) {
    self->read<RefList>(
        self->readers_, question->id, question->place,
        [repo](Folder folder, const Io&) { return list_refs(std::move(folder), repo); },
        [self, question](Result<RefList> list) { self->answer(question, std::move(list)); });
  });
}

namespace {

class Handle final : public Origin {
 public:
  Handle(FolderOptions options, Metrics& metrics)
      : origin_(std::make_shared<FolderOrigin>(std::move(options), metrics)) {
    origin_->start();
  }
  ~Handle() override { origin_->stop(); }
  void stop() override { origin_->stop(); }

  void fetch_revision(const RepoId& repo, const std::string& revision,
                      Done<RepoInfo> done) override {
    origin_->fetch_revision(repo, revision, std::move(done));
  }
  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string&,
                       Done<TreePage> done) override {
    origin_->fetch_tree(repo, commit, std::move(done));
  }
  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override;
  void fetch_refs(const RepoId& repo, Done<RefList> done) override {
    origin_->fetch_refs(repo, std::move(done));
  }
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    return origin_->fetch_range(file, range, std::move(sink));
  }
  std::vector<Health> health() const override { return {origin_->health()}; }
  void note_wrong(const BlobId& blob, std::uint64_t size) override {
    origin_->note_wrong(blob, size);
  }

 private:
  const std::shared_ptr<FolderOrigin> origin_;
};

void Handle::fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                         Done<std::vector<TreeEntry>> done) {
  origin_->fetch_tree(
      repo, commit,
      [paths = std::move(paths), done = std::move(done)](Result<TreePage> tree) mutable {
        if (!tree) return done(fail(tree));
        std::vector<TreeEntry> found;
        for (const std::string& path : paths) {
          for (const TreeEntry& entry : tree->entries) {
            if (entry.path == path) found.push_back(entry);
            if (!entry.path.starts_with(path + '/')) continue;
            found.push_back({.kind = TreeEntry::Kind::directory, .path = path, .blob = {}});
            break;
          }
        }
        done(std::move(found));
      });
}

}  // namespace
}  // namespace folder

std::unique_ptr<Origin> open_folder(FolderOptions options, Metrics& metrics) {
  return std::make_unique<folder::Handle>(std::move(options), metrics);
}

}  // namespace hffs
