// SPDX-License-Identifier: Apache-2.0
//
// The folder origin's one class, in three files: folder_origin.cpp (health, calls, names), naming_calls.cpp (trees,
// and the hashes of plain files), range_reads.cpp (bytes).
// Threads: `loop_` is the one that answers: all state is its own, and it never touches the file system.
// What reads runs on IoThreads and comes back by post(). A job keeps the object: a thread that hangs may
// outlive the owner, which has called stop().
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "hffs/folder_origin.h"
#include "hffs/guarded.h"
#include "hffs/timer.h"
#include "io_threads.h"
#include "reading.h"

namespace hffs::folder {

using BlobKey = std::pair<BlobId, std::uint64_t>;  // with the size

// Closed on an IO thread: even that may hang.
using Descriptor = std::shared_ptr<const int>;

struct RangeRead {
  FileSource file;
  ByteRange range;
  std::shared_ptr<RangeSink> sink;
  std::uint64_t id = 0;
  std::string place;
  std::uint64_t at = 0;
  Descriptor fd;
  std::vector<std::byte> piece;  // read, and not taken yet
  bool started = false, paused = false;
};

template <class T>
struct Question {
  std::uint64_t id = 0;
  std::string place;
  Done<T> done;
};

class FolderOrigin : public std::enable_shared_from_this<FolderOrigin> {
 public:
  FolderOrigin(FolderOptions options, Metrics& metrics);

  void start();
  void stop();
  void fetch_revision(const RepoId& repo, const std::string& revision, Done<RepoInfo> done);
  void fetch_tree(const RepoId& repo, const CommitId& commit, Done<TreePage> done);
  void fetch_refs(const RepoId& repo, Done<RefList> done);
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink);
  void note_wrong(const BlobId& blob, std::uint64_t size);
  Origin::Health health() const { return *health_.lock(); }
  // Of a RangeFetch.
  void resume(const std::shared_ptr<RangeRead>& read);
  void cancel(const std::shared_ptr<RangeRead>& read);

 private:
  struct Call {
    std::string place;
    std::optional<Instant> deadline;
    std::move_only_function<void(Error)> fail;
    std::shared_ptr<std::atomic<bool>> wanted = std::make_shared<std::atomic<bool>>(true);
    std::string doing;  // for who hears that the deadline has passed
  };
  struct Hashed {
    Stamp stamp;
    BlobId blob;
  };
  struct Naming;
  struct Named {
    CommitId commit;
    std::vector<TreeEntry> entries;
  };

  // Any thread. False after stop(): the task is dropped.
  bool post(std::move_only_function<void()> task);

  // On the loop's thread, from here on.
  void watch();
  void keep_watching();
  void probe();
  void probed(const Result<void>& looked);
  void go_down(const std::string& reason);
  void complain(const std::string& reason);  // of a part: the folder is up
  void come_up();
  std::optional<Error> refusal(const std::string& place) const;
  std::uint64_t enter(Call call);
  // False: it has been answered already.
  bool leave(std::uint64_t id);
  void fail_calls(const std::function<std::optional<Error>(const Call&)>& why);

  template <class T>
  void ask(std::string place, Done<T> done,
           std::move_only_function<void(std::shared_ptr<Question<T>>)> begin);
  template <class T>
  void answer(const std::shared_ptr<Question<T>>& question, Result<T> result) {
    // A failure to ask, and no absence.
    if (!result && result.error().code == Code::io) result.error().code = Code::unreachable;
    if (leave(question->id)) question->done(std::move(result));
  }
  // Runs `work` on an IO thread with the folder open, then `then` on the loop's.
  template <class R>
  void read(IoThreads& threads, std::uint64_t call, const std::string& place,
            std::move_only_function<Result<R>(Folder, const Io&)> work,
            std::move_only_function<void(Result<R>)> then);

  // naming_calls.cpp
  // For `call`, which may be over before.
  void list(const RepoId& repo, const std::optional<CommitId>& commit, std::uint64_t call,
            const std::string& place, Done<Named> then);
  void list_plain(const RepoId& repo, std::shared_ptr<Question<RepoInfo>> question);
  void name_next(std::shared_ptr<Naming> naming);
  void hash(const std::string& place, const Stamp& stamp, Done<BlobId> done);
  void hashed(const std::string& place, const Stamp& stamp, const Result<BlobId>& result);

  // range_reads.cpp
  void begin(const std::shared_ptr<RangeRead>& read);
  void find(const std::shared_ptr<RangeRead>& read);
  void found(const std::shared_ptr<RangeRead>& read, Result<Candidate> candidate);
  void read_piece(const std::shared_ptr<RangeRead>& read);
  void deliver(const std::shared_ptr<RangeRead>& read);
  void end(const std::shared_ptr<RangeRead>& read, Result<void> result);
  Descriptor keep(UniqueFd fd);

  const FolderOptions options_;
  Metrics& metrics_;
  mutable Guarded<Origin::Health> health_;
  Guarded<bool> stopped_{false};

  std::uint64_t last_call_ = 0;
  std::map<std::uint64_t, Call> calls_;
  std::set<std::string> stuck_;  // places whose reader hangs
  bool down_ = false, all_hang_ = false, watching_ = false, probing_ = false;
  Instant probe_began_{}, probe_ended_{};
  std::map<std::string, Hashed> hashes_;  // by place
  std::map<std::string, std::vector<std::pair<Stamp, Done<BlobId>>>> hashing_;
  std::map<BlobKey, Stamp> given_, wrong_;  // files whose bytes were taken; had another hash

  IoThreads readers_, hashers_, prober_{1};
  Timer loop_;
};

template <class T>
void FolderOrigin::ask(std::string place, Done<T> done,
                       std::move_only_function<void(std::shared_ptr<Question<T>>)> begin) {
  const auto question = std::make_shared<Question<T>>(Question<T>{0, std::move(place), std::move(done)});
  const bool posted =
      post([self = shared_from_this(), question, begin = std::move(begin)]() mutable {
        if (auto error = self->refusal(question->place)) return question->done(fail(*error));
        question->id = self->enter({.place = question->place,
                                    .deadline = system_clock().now() + self->options_.deadline,
                                    .fail = [question](Error error) {
                                      question->done(hffs::fail(std::move(error)));
                                    }});
        begin(question);
      });
  if (!posted) question->done(fail(Code::cancelled, "shutting down"));
}

template <class R>
void FolderOrigin::read(IoThreads& threads, std::uint64_t call, const std::string& place,
                        std::move_only_function<Result<R>(Folder, const Io&)> work,
                        std::move_only_function<void(Result<R>)> then) {
  const auto found = calls_.find(call);
  const auto wanted = found != calls_.end() ? found->second.wanted : nullptr;
  threads.run(place, [self = shared_from_this(), place, wanted, work = std::move(work),
                      then = std::move(then)](const Io& io) mutable {
    if (wanted && !*wanted) return;
    auto folder = Folder::open(self->options_.path, io.beat);
    std::optional<Error> absent;
    if (!folder) absent = explain(self->options_.path, folder.error());
    Result<R> result = fail(Code::bug, "nothing was read");
    if (absent)
      result = fail(*absent);
    else
      result = work(std::move(*folder), io);
    const bool denied = !result && result.error().code == Code::denied;
    if (denied) self->options_.unreadable(self->options_.path);
    if (denied) result = fail(explain(fmt::format("{}/{}", self->options_.path, place), std::move(result.error())));
    self->post([self, absent, denied, result = std::move(result), then = std::move(then)]() mutable {
      if (absent) self->go_down(absent->message);
      if (denied) self->complain(result.error().message);
      // The server's own words: the whole folder may be away.
      if (!result && info(result.error().code).retry_helps) self->probe();
      then(std::move(result));
    });
  });
}

}  // namespace hffs::folder
