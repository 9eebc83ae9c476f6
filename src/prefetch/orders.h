// SPDX-License-Identifier: Apache-2.0
//
// Orders: what the queue's thread does for each: opens files, asks for their bytes, and has them verified. Threads: one;
// completions come by an event.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <variant>
#include <vector>

#include "hffs/prefetch_queue.h"

namespace hffs::prefetch {

// A file that is in work. It holds its blob, so that nothing of it is evicted meanwhile.
struct Active {
  TreeFile file;
  RepoId repo;  // of the order
  std::shared_ptr<Blob> blob;
  std::vector<FileSource> sources;  // the order's own first; who refuses goes
  std::optional<Error> refusal;     // the first source's
  int refusals = 0;                 // sources that are gone
  BlockIndex cursor = 0;         // what lies before it is here, or was asked for
  std::uint64_t in_flight = 0;   // bytes
  bool verifying = false;
  int wrong = 0;                 // how often its bytes were
  int not_kept = 0;              // how often all was asked for, and the disk did not take it
  Instant progress{};            // the last
  Instant paused_until{};
  std::chrono::seconds pause{0};
  std::string trouble;
};

struct Order {
  std::uint64_t number = 0;
  uid_t who = 0;  // pays
  PrefetchQueue::State state;
  std::deque<TreeFile> waiting;
  std::vector<std::shared_ptr<Active>> active;
  std::vector<TreeFile> done;

  void give_up(const TreeFile& file, Code code, std::string why);
};

// What has come, or has not; and a verdict.
struct BytesCame {
  std::shared_ptr<Active> file;
  std::uint32_t incarnation = 0;
  BlockRun run;
  Result<void> result;
  std::shared_ptr<Charge> charge;
  int refusals = 0;  // of the file, when it was asked for
};
struct Judged {
  std::shared_ptr<Active> file;
  Result<void> result;
};
using OrderEvent = std::variant<BytesCame, Judged>;

class Orders {
 public:
  using Event = OrderEvent;
  Orders(PrefetchQueue::Options options, Catalog& catalog, Store& store, TransferEngine& transfer, Budget& budget,
         const Clock& clock)
      : options_(options), catalog_(catalog), store_(store), transfer_(transfer), budget_(budget), clock_(clock) {}

  // `post` may be called by any thread, and brings the event to handle() by ours. Before the first order.
  void on_event(std::function<void(Event)> post) { post_ = std::move(post); }
  std::vector<Order>& all() { return orders_; }
  void handle(const Event& event);
  // Goes on with each as far as that is possible now.
  void work();

 private:
  void note(const BytesCame& event);
  void note(const Judged& event);
  void work_on(Order& order);
  bool activate(Order& order);
  void refused(const std::shared_ptr<Active>& file, const Error& error);
  void not_kept(Active& file);
  bool open(Active& file);
  Result<void> pump(Order& order, Active& file);
  void end(Order& order, const Error& why);
  void ask_verdict(const std::shared_ptr<Active>& file);
  void rest(Active& file, const std::string& why);
  bool finish(Order& order, Active& file);

  const PrefetchQueue::Options options_;
  Catalog& catalog_;
  Store& store_;
  TransferEngine& transfer_;
  Budget& budget_;
  const Clock& clock_;
  std::function<void(Event)> post_;
  std::vector<Order> orders_;
  std::uint64_t in_flight_ = 0;  // bytes, of all
};

}  // namespace hffs::prefetch
