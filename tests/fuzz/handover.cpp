// SPDX-License-Identifier: Apache-2.0
//
// The memory that a worker leaves, whatever stands in it: the next worker looks at it, is killed, and another one does
// its work. An input is pokes: a byte for the region, one for which of its items, one for where in it, one for how many
// bytes, and these.
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "handover_memory.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

// The memory is a Handover's own; what is written past one is what a hostile worker writes.
template <auto kMember>
struct Lend {
  friend auto memory_of(Handover& of) { return of.*kMember; }
};
template struct Lend<&Handover::memory_>;
auto memory_of(Handover& of);

constexpr std::size_t kMostPoke = 255;

template <class T>
std::span<std::byte> item_of(T& items, std::uint8_t which) {
  const std::size_t count = std::size(items);
  // The first ones, and the last.
  auto& item = items[which < 200 ? which % count : count - (256u - which)];
  return {reinterpret_cast<std::byte*>(&item), sizeof(item)};
}

std::span<std::byte> region_of(Handover& handover, std::uint8_t region, std::uint8_t which) {
  auto* memory = memory_of(handover);
  switch (region % 8) {
    case 0: return {reinterpret_cast<std::byte*>(&memory->index), 40};  // and the lengths of the session
    case 1: return item_of(memory->rows, which);
    case 2: return item_of(memory->notes, which);
    case 3: return item_of(memory->answers, which);
    case 4: return item_of(memory->changes, which);
    case 5: return item_of(memory->change_bytes, which);
    case 6: return item_of(memory->desks, static_cast<std::uint8_t>(which % Handover::kDesks));
    default: return item_of(memory->places, which);
  }
}

struct Seen {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> requests;  // unique, tries
  std::vector<std::pair<std::uint64_t, std::uint32_t>> open;      // node, count
  std::vector<std::string> changes;
  bool operator==(const Seen&) const = default;
};

std::uint64_t unique_of(const Handover::Left& left) { return header_of(left.request.data()).unique; }

Seen look(Handover& handover, std::vector<Handover::Left>& left) {
  Seen seen;
  std::set<std::uint64_t> uniques;
  for (const auto& each : left) {
    MUST(each.request.size() >= sizeof(fuse_in_header) && each.request.size() <= kDeskBytes);
    MUST(uniques.insert(unique_of(each)).second);
    MUST(each.answer.empty() || each.answer.size() >= sizeof(fuse_out_header));
    if (!each.answer.empty()) {
      fuse_out_header said;
      std::memcpy(&said, each.answer.data(), sizeof(said));
      MUST(said.unique == unique_of(each));
    }
    (void)handover.done_for(unique_of(each));
    seen.requests.emplace_back(unique_of(each), each.tries);
  }
  MUST(std::ranges::is_sorted(seen.requests, {}, [](const auto& each) { return each.first; }));
  for (const auto& [row, open] : handover.open_nodes()) {
    MUST(row < kRows && open.node != 0);
    seen.open.emplace_back(open.node, open.count);
  }
  for (auto& [change, bytes] : handover.changes()) {
    MUST(!bytes.empty() && bytes.size() <= Handover::kMostChange);
    seen.changes.push_back(std::move(bytes));
  }
  if (const auto session = handover.session())
    MUST(session->request.size() <= kMostInit && session->answer.size() <= kMostInit);
  return seen;
}

// Does all that is left, and something of its own.
void serve(Handover& handover, std::vector<Handover::Left>& left) {
  for (const auto& each : left) {
    handover.try_again(each);
    handover.answered(unique_of(each));
    handover.settle(each);
  }
  for (auto& [change, bytes] : handover.changes()) handover.settle_change(change);
  for (const auto& [row, open] : handover.open_nodes()) {
    handover.set_open(row, open.count + 1, 0);
    if (open.count % 2 == 0) handover.free_open(row);
  }
  const auto desk = handover.desk(3);
  const fuse_in_header header{.len = 80, .opcode = FUSE_MKDIR, .unique = 77'777};
  std::memcpy(desk.data(), &header, sizeof(header));
  handover.begin(3);
  const auto row = handover.add_open({.node = 5, .count = 1, .backing = 0}, 77'777);
  const auto change = handover.add_change(77'777, "made");
  handover.clear_desk(3);
  handover.answered(77'777);
  if (change) handover.settle_change(*change);
  if (row) handover.free_open(*row);
}

std::unique_ptr<Handover> next(const UniqueFd& memory) {
  auto mapped = Handover::map(memory);
  MUST(mapped);
  return std::move(*mapped);
}

}  // namespace

FUZZ_TARGET(input) {
  auto memory = Handover::create();
  MUST(memory);
  {
    const auto hostile = next(*memory);
    while (!input.empty()) {
      const std::uint8_t region = input.byte(), which = input.byte(), at = input.byte(), size = input.byte();
      const auto bytes = input.take(std::min<std::size_t>(size, kMostPoke));
      const auto to = region_of(*hostile, region, which);
      const std::size_t begin = std::min<std::size_t>(at, to.size());
      std::memcpy(to.data() + begin, bytes.data(), std::min(bytes.size(), to.size() - begin));
    }
  }
  auto worker = next(*memory);
  (void)worker->session();
  worker->take_over();
  auto left = worker->left();
  const Seen first = look(*worker, left);
  // It is killed there, and the next one sees the same.
  worker = next(*memory);
  worker->take_over();
  left = worker->left();
  MUST(look(*worker, left) == first);
  serve(*worker, left);
  worker = next(*memory);
  worker->take_over();
  left = worker->left();
  MUST(left.empty());
  look(*worker, left);
  MUST(worker->changes().empty());
}
