// SPDX-License-Identifier: Apache-2.0
//
// The verify thread: hashes filling blobs in file order as their blocks become readable, gives the
// verdict when the last one is there, and imports files that claim to be a blob. Blobs take turns,
// so that a small one does not wait for a large one. After opening it looks whether the files that the
// index speaks of are there, so that what is missing is known before somebody asks for it.
//
// Threads: any may call; drain(), withdraw() and stop() block.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "blob_file.h"
#include "evictor.h"
#include "read_ahead.h"
#include "settler.h"

namespace hffs {

class Verifier {
 public:
  struct Options {
    std::chrono::milliseconds try_again;  // a full disk or a failing sync is asked again this often
    std::vector<std::uint64_t>
        unverified;  // blobs whose blocks were all claimed before the opening
    std::vector<std::uint64_t> held;  // all others with bytes: whether their files are there
  };
  Verifier(Options options, Settler::Parts parts, Evictor& evictor);
  ~Verifier() { stop(); }

  // Blocks of this blob became readable.
  void note(const std::shared_ptr<BlobFile>& blob);
  void import_file(std::uint64_t number, std::string path, Done<void> done);
  // A verified blob's bytes are wrong, or its file is gone: no later open gets what there was. Blocks, also
  // on this thread. Code::stale: it is another incarnation by now.
  Result<void> withdraw(std::uint64_t number, std::uint32_t incarnation, bool gone);
  // Every verdict given before is handed to the index, or fails with what stands in the way.
  Result<void> drain();
  // Gives the verdicts that are near, cancels imports, ends.
  void stop();
  // Why a verdict could not be committed yet, if one could not.
  std::optional<Error> stuck() const { return settler_.stuck(); }
  // After stop(), and after the index has ended.
  void abandon(const Error& why) { settler_.abandon(why); }

 private:
  struct Import {
    std::uint64_t number = 0;
    std::string path;
    Done<void> done;
    UniqueFd file;
    std::optional<BlobInfo> info;
    std::optional<Hashing> hashing;
    std::optional<ReadAhead> ahead;
  };
  struct Job {
    std::shared_ptr<BlobFile> blob;
    std::unique_ptr<Import> import;
    std::move_only_function<void()> task;
    std::vector<std::uint64_t> unverified;  // one after the other: one file is open at a time
    std::shared_ptr<BlobFile> current;      // of these
    std::vector<std::uint64_t> look_at;
  };

  void run();
  std::optional<Job> next();
  void try_again();
  Result<std::shared_ptr<BlobFile>> open_to_import_into(std::uint64_t number);
  void perform(Job job);
  void look_at(Job job);
  void go_through(Job job);
  bool push(Job job);
  // What is left of it waits for its next turn.
  void advance(const std::shared_ptr<BlobFile>& blob);
  void finish(const std::shared_ptr<BlobFile>& blob);
  void try_again_later(std::shared_ptr<BlobFile> blob, const Error& why);
  Result<void> put_aside(std::uint64_t number, std::uint32_t incarnation, bool gone);
  Result<void> begin_import(Import& import);
  void advance_import(std::unique_ptr<Import> import);
  void finish_import(Import& import);
  void answer_when_known(Import& import);
  Result<void> place_import(Import& import, const std::shared_ptr<BlobFile>& blob);
  // The hash of the blob that has these bytes, fed from `read`, for one turn or until `have` is
  // false.
  template <class Have, class Read>
  Result<void> hash_on(Hashing& hashing, std::uint64_t size, Have have, Read read);

  const std::chrono::milliseconds try_again_after_;
  const Settler::Parts parts_;
  Evictor& evictor_;
  Settler settler_;
  std::vector<std::byte> buffer_;
  std::vector<std::shared_ptr<BlobFile>> later_;  // could not be settled; tried again
  std::chrono::steady_clock::time_point try_again_at_{};
  bool failing_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;  // below: guarded by mutex_
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace hffs
