// SPDX-License-Identifier: Apache-2.0
//
// The engine's parts. One mutex guards the tables; it is never held across a call to the origin, a
// completion, or a handover to the store (it may be held while a blob's bitmap is read).
//
// A *slot* is the right to have one request under way; who gets one stands in slots.cpp.
//
// A *request* owns blocks that nobody else fetches, for as many *attempts* (one range GET each) as
// it takes. A *waiter* waits for some blocks, whoever owns them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "hffs/transfer.h"
#include "pace.h"

namespace hffs::transfer {

struct BlobKey {
  std::uint64_t number = 0;
  std::uint32_t incarnation = 0;
  auto operator<=>(const BlobKey&) const = default;
};

struct Waiter {
  Done<void> done;  // empty once it was called
  BlobKey key;
  BlockRun span;  // its blocks lie in here
  bool ahead = false;  // nobody reads them yet
  std::size_t blocks_left = 0;
  std::multimap<Instant, std::weak_ptr<Waiter>>::iterator deadline;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
};

struct Request {
  Request(BlobKey its_key, std::shared_ptr<Blob> its_blob, std::span<const FileSource> sources,
          BlockIndex first)
      : key(its_key),
        blob(std::move(its_blob)),
        source(sources.front()),
        others(sources.begin() + 1, sources.end()),
        run{first, 0},
        position(first * kBlockSize) {}

  static inline std::atomic<std::uint64_t> begun = 0;
  const std::uint64_t serial = ++begun;
  const BlobKey key;
  const std::shared_ptr<Blob> blob;
  const FileSource source;
  const std::vector<FileSource> others;  // to be asked when this one refuses for good
  BlockRun run;                    // what it owns
  bool demanded = false;           // a reader waits for it
  std::uint64_t position;          // next byte to ask for
  std::vector<std::byte> partial;  // the bytes of the block that `position` stands in, so far
  int failures = 0;                // attempts in a row that brought nothing
  std::string last_error;
  Instant queued{};  // while it waits for a slot: since when
  // While an attempt is under way.
  std::shared_ptr<RangeFetch> running;
  Instant heard{};            // when bytes worth speaking of came last, or it began
  std::uint64_t trickle = 0;  // bytes since then
  bool yielding = false;      // it was told to leave its slot to another
  bool restarting = false;    // … and to come back to it
};

// Whose turn it is must not hang on where its memory lies: the same events, the same choices.
struct Older {
  bool operator()(const std::shared_ptr<Request>& one, const std::shared_ptr<Request>& other) const {
    return one->serial < other->serial;
  }
};

struct InFlight {
  std::shared_ptr<Request> owner;  // who fetches it; nobody once it is on its way to the disk
  bool writing = false;
  std::vector<std::shared_ptr<Waiter>> waiters;
};

// Back-off after `failures` attempts in a row that brought nothing.
std::chrono::milliseconds retry_delay(const TransferOptions& options, int failures,
                                      std::chrono::milliseconds asked_by_peer);

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(TransferOptions options, Origin& origin, const Clock& clock, Metrics& metrics);

  std::uint64_t fetch(std::shared_ptr<Blob> blob, std::vector<FileSource> sources, ByteRange range,
                      std::stop_token stop, Done<void> done, bool ahead = false);
  void note_corrupt(std::uint64_t blob_number);
  TransferEngine::Snapshot snapshot();
  void start();
  void stop();  // blocks until no attempt is under way
  // What the timer's thread does, once: all that is due by now. For who has not start()ed it.
  void turn();

  // From attempts, on the network thread.
  // Whether an attempt that delivers the whole file may go on: one for each blob.
  bool begin_whole(const std::shared_ptr<Request>& request);
  void end_whole(const std::shared_ptr<Request>& request);
  // Notes that the request hears something. False: no room before a write has ended; the request's
  // attempt is resumed then.
  bool reserve_buffer(std::uint64_t bytes, const std::shared_ptr<Request>& request);
  void release_buffer(std::uint64_t bytes);
  void write_block(const std::shared_ptr<Request>& request, BlockIndex block,
                   std::vector<std::byte> bytes);
  // The block turned out to be readable already.
  void block_found(const std::shared_ptr<Request>& request, BlockIndex block);
  void attempt_ended(const std::shared_ptr<Request>& request, Result<void> result, bool progress);

 private:
  using BlockKey = std::pair<BlobKey, BlockIndex>;
  using Blocks = std::map<BlockKey, InFlight>;
  // Completions collected under the lock, called after it.
  class Completions {
   public:
    void add(Done<void> done, Result<void> result) {
      list_.emplace_back(std::move(done), std::move(result));
    }
    ~Completions() {
      for (auto& [done, result] : list_) done(std::move(result));
    }

   private:
    std::vector<std::pair<Done<void>, Result<void>>> list_;
  };

  // The rest of this section: with the lock held, except where it says otherwise.
  // Returns the bytes that nobody fetched before.
  std::uint64_t plan(const std::shared_ptr<Waiter>& waiter, const std::shared_ptr<Blob>& blob,
                     std::span<const FileSource> sources, const std::vector<BlockRun>& missing);
  void demand(std::shared_ptr<Request> request, BlockIndex block);  // a copy: the owner changes
  void prefer_willing(std::vector<FileSource>& sources);
  bool ask_next_source(Request& refused, const Error& why);
  std::pair<Blocks::iterator, Blocks::iterator> range_of(const BlobKey& key, BlockRun run);
  Result<void> check_corrupt(std::uint64_t blob_number, const FileSource& source);
  bool owns_any(const Request& request);
  bool wanted(const Request& request);
  void trim(Request& request);
  void drop(Request& request, const Error* error, Completions& completions);
  void enqueue(std::shared_ptr<Request> request);
  // Requests under way of each blob; `demanded` ones alone, or all.
  std::map<BlobKey, std::size_t> count_running(bool demanded) const;
  std::deque<std::shared_ptr<Request>>::iterator first_in_turn();
  bool may_run(const Request& request) const;
  std::shared_ptr<Request> next_request();
  std::shared_ptr<RangeFetch> free_a_slot(Instant now);
  std::shared_ptr<RangeFetch> find_stalled(Instant now);
  std::size_t shared_slots() const;  // all but the last quarter
  void keep_pace(Instant now);
  void settle(const BlockKey& key, const Result<void>& result, Completions& completions);
  void finish(const std::shared_ptr<Waiter>& waiter, Result<void> result, Completions& completions);
  std::string forget(const std::shared_ptr<Waiter>& waiter);
  void end_late_waiters(Instant now, Completions& completions);
  std::vector<std::shared_ptr<RangeFetch>> take_resumable();

  // One look at what is due; how long to sleep then, or nothing: something was, look again.
  std::optional<std::chrono::milliseconds> tick(std::unique_lock<std::mutex>& lock);

  // Without it.
  void run_timer();
  void dispatch();
  void block_written(const BlobKey& key, BlockIndex block, std::uint64_t bytes,
                     Result<void> result);
  void cancel_waiter(const std::weak_ptr<Waiter>& waiter);

  const TransferOptions options_;
  Origin& origin_;
  const Clock& clock_;
  Metrics& metrics_;

  mutable std::mutex mutex_;  // guards everything below
  Blocks blocks_;
  std::deque<std::shared_ptr<Request>> queue_;  // for a slot
  std::multimap<Instant, std::shared_ptr<Request>> resting_;  // in back-off
  std::set<std::shared_ptr<Request>, Older> running_, paused_;
  std::map<BlobKey, std::shared_ptr<Request>> whole_;  // the one that streams a whole file
  std::multimap<Instant, std::weak_ptr<Waiter>> deadlines_;
  std::set<std::shared_ptr<Waiter>> waiters_;
  struct Corrupt {
    int times = 0;
    Instant until{};
  };
  std::map<std::uint64_t, Corrupt> corrupt_;
  std::map<std::string, Instant> refused_;  // repository and commit: asked last until then
  Pace pace_;
  Instant heard_{};  // when any request heard something last
  std::uint64_t buffered_ = 0;  // bytes in memory: of half blocks, and on their way to the disk
  std::size_t writing_ = 0;     // blocks on their way to the disk
  bool stopping_ = false;
  std::condition_variable changed_;
  std::thread timer_;
};

}  // namespace hffs::transfer
