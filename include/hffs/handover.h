// SPDX-License-Identifier: Apache-2.0
//
// Handover: what a worker leaves to its successor, in memory that the keeper holds. A worker may end at
// any instant. The session was negotiated once; requests that the kernel has handed over are not sent
// again; a node that is open keeps its mode and its backing file; and a change that was made may have been
// seen before its row is in the index. All of that stands here.
//
// A request is received into a desk, where it counts from the instant at which the kernel has written
// it. One that waits when its operation returns is moved to a place of its own. It is forgotten
// behind its answer, which is put beside it first: programs may have gone on from there. What a successor
// finds unanswered it does again, and what has an answer it answers so again; the kernel refuses one that it
// has had. A change tells for which request it was made, so that who is asked again knows that it is done.
//
// Threads: any; a desk is one thread's. Nothing blocks, but for clear_desk() while thousands wait.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/posix.h"

namespace hffs {

class Handover {
 public:
  // A memory file, empty. The keeper's, which gives it to each worker.
  static Result<UniqueFd> create();
  // unsupported: it was made by a version that laid it out in another way.
  static Result<std::unique_ptr<Handover>> map(const UniqueFd& memory);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // Predecessors have ended: what they left is looked at. Before everything but session() and index(), once.
  void take_over();
  // How many have taken over so far.
  std::uint64_t generation() const;

  // The session: FUSE_INIT as the kernel sent it, and the answer that it believes.
  struct Session {
    std::vector<std::byte> request, answer;
  };
  std::optional<Session> session() const;
  // The index whose rows node ids are made of. The kernel has believed them.
  struct Index {
    std::uint64_t device = 0, inode = 0;
    bool operator==(const Index&) const = default;
  };
  Index index() const;
  void keep_index(const Index& index);
  void keep_session(std::span<const std::byte> request, std::span<const std::byte> answer);

  // Requests. A desk has room for the largest one.
  static constexpr unsigned kDesks = 16;
  // Its pages are there from then on: while a request is written into it a kill must find no page to be made.
  std::span<std::byte> desk(unsigned number);
  // A request has come into the desk.
  void begin(unsigned desk);
  // Its operation has returned.
  void clear_desk(unsigned desk);
  // In front of and behind the write of the answer.
  void answering(std::uint64_t unique, std::span<const iovec> answer);
  void answered(std::uint64_t unique);
  // What predecessors had not answered, once, in the order in which it came, each as if begin() had been
  // called for it. settle() is what clear_desk() is to others.
  struct Left {
    std::vector<std::byte> request;
    std::vector<std::byte> answer;  // what was done is done, and this is to be said
    std::uint32_t tries = 0;  // how many workers ended while they began with it
    std::uint32_t place = 0;
  };
  std::vector<Left> left();
  // The next call begins with it.
  void try_again(const Left& left);
  void settle(const Left& left);

  // Open nodes, by row.
  struct OpenNode {
    std::uint64_t node;    // 0: a free row
    std::uint32_t count;   // of opens
    std::int32_t backing;  // 0: none
  };
  // All rows that are in use. The count of a predecessor's is without opens that were not answered. One
  // of count 0 is to be closed and freed.
  std::vector<std::pair<std::uint32_t, OpenNode>> open_nodes() const;
  // nothing: there are too many
  std::optional<std::uint32_t> add_open(const OpenNode& node, std::uint64_t request);
  // `request`: the one that opens or closes it; 0: none. Its count alone changes, by one.
  void set_open(std::uint32_t row, std::uint32_t count, std::uint64_t request);
  void free_open(std::uint32_t row);

  // Changes, whose bytes mean something to the overlay. One goes when it is settled and its request is
  // answered.
  static constexpr std::size_t kMostChange = 12'000;
  std::optional<std::uint32_t> add_change(std::uint64_t request, std::string_view bytes);
  void settle_change(std::uint32_t change);
  // What predecessors left and did not settle, in their order.
  std::vector<std::pair<std::uint32_t, std::string>> changes() const;
  // What a predecessor did for a request that it did not answer.
  std::optional<std::string> done_for(std::uint64_t request) const;

 private:
  struct Memory;
  struct State {
    std::unordered_map<std::uint64_t, std::uint32_t> places;  // by unique
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> settled;  // changes, by unique
    std::unordered_map<std::uint64_t, std::uint32_t> done_before;           // changes, by unique
    std::vector<std::uint32_t> free_places, free_rows, free_changes;
    std::uint64_t next_change = 1;
    std::vector<Left> left;
  };
  explicit Handover(Memory* memory);
  std::byte* place(std::uint32_t number) const;
  std::atomic_ref<std::uint32_t> taken(std::uint32_t place) const;
  void forget(std::uint32_t place);
  void find_left(State& state);
  void find_changes(State& state);
  std::vector<std::byte> answer_of(std::uint32_t place, std::uint64_t unique) const;
  void settle_count(std::uint32_t place);
  void count(State& state, std::uint32_t row, std::uint32_t count, std::uint64_t request);

  Memory* const memory_;
  mutable Guarded<State> state_;
  std::condition_variable freed_;
};

}  // namespace hffs
