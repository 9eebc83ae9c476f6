// SPDX-License-Identifier: Apache-2.0
//
// What is open, and what was changed.
#include <algorithm>
#include <cstring>
#include <utility>

#include "handover_memory.h"

namespace hffs {

// --- open nodes ----------------------------------------------------------------------------------

std::vector<std::pair<std::uint32_t, Handover::OpenNode>> Handover::open_nodes() const {
  std::vector<std::pair<std::uint32_t, OpenNode>> all;
  for (std::uint32_t row = 0; row < kRows; ++row)
    if (memory_->rows[row].node != 0) all.emplace_back(row, memory_->rows[row]);
  return all;
}

// In steps that a kill may stand between.
void Handover::count(State& state, std::uint32_t row, std::uint32_t count, std::uint64_t request) {
  const auto found = request == 0 ? state.places.end() : state.places.find(request);
  Memory::Note* note = found == state.places.end() ? nullptr : &memory_->notes[found->second];
  if (note != nullptr) {
    HandoverWord(note->counted).store(0);
    HandoverWord(note->before).store(memory_->rows[row].count);
    HandoverWord(note->row).store(row + 1);
  }
  HandoverWord(memory_->rows[row].count).store(count);
  if (note != nullptr) HandoverWord(note->counted).store(1);
}

std::optional<std::uint32_t> Handover::add_open(const OpenNode& node, std::uint64_t request) {
  auto state = state_.lock();
  if (state->free_rows.empty()) return {};
  const std::uint32_t row = state->free_rows.back();
  state->free_rows.pop_back();
  memory_->rows[row].count = 0;
  memory_->rows[row].backing = node.backing;
  std::atomic_ref(memory_->rows[row].node).store(node.node);
  count(*state, row, node.count, request);
  return row;
}

void Handover::set_open(std::uint32_t row, std::uint32_t to, std::uint64_t request) {
  auto state = state_.lock();
  count(*state, row, to, request);
}

void Handover::free_open(std::uint32_t row) {
  auto state = state_.lock();
  std::atomic_ref(memory_->rows[row].node).store(0);
  state->free_rows.push_back(row);
}

// Of one that was not answered: what it opened it opens again. What it closed is closed, and that is its answer.
// Whoever does this may be killed, too: the next one does it again, and it comes to the same.
void Handover::settle_count(std::uint32_t place_number) {
  Memory::Note& note = memory_->notes[place_number];
  if (note.row == 0 || note.row > kRows || note.answers != 0) return;
  std::uint32_t& count = memory_->rows[note.row - 1].count;
  const fuse_in_header header = header_of(place(place_number));
  if (note.counted != 0 && header.opcode == FUSE_RELEASE) {
    const fuse_out_header closed{.len = sizeof(closed), .error = 0, .unique = header.unique};
    auto& answer = memory_->answers[place_number];
    std::memcpy(answer.bytes, &closed, sizeof(closed));
    answer.size = sizeof(closed);
    HandoverWord(note.answers).store(1);
    return;
  }
  if (note.counted != 0) {
    // Others may have counted since then.
    HandoverWord(note.before).store(count > 0 ? count - 1 : 0);
    HandoverWord(note.counted).store(0);
  }
  HandoverWord(count).store(note.before);
  HandoverWord(note.row).store(0);
}

// --- changes -------------------------------------------------------------------------------------

void Handover::find_changes(State& state) {
  for (std::uint32_t change = kChanges; change-- > 0;) {
    const Memory::Change& found = memory_->changes[change];
    if (found.size == 0 || found.size > kMostChange) {
      state.free_changes.push_back(change);
      continue;
    }
    state.next_change = std::max(state.next_change, found.number + 1);
    const bool is_asked = state.places.contains(found.request);
    if (is_asked) state.done_before[found.request] = change;
    if (found.settled == 0) continue;
    if (is_asked) {
      state.settled[found.request].push_back(change);
    } else {
      HandoverWord(memory_->changes[change].size).store(0);
      state.free_changes.push_back(change);
    }
  }
}

std::optional<std::uint32_t> Handover::add_change(std::uint64_t request, std::string_view bytes) {
  auto state = state_.lock();
  if (state->free_changes.empty() || bytes.empty() || bytes.size() > kMostChange) return {};
  const std::uint32_t number = state->free_changes.back();
  state->free_changes.pop_back();
  Memory::Change& change = memory_->changes[number];
  change.number = state->next_change++;
  change.request = request;
  change.settled = 0;
  std::memcpy(memory_->change_bytes[number], bytes.data(), bytes.size());
  HandoverWord(change.size).store(static_cast<std::uint32_t>(bytes.size()));
  return number;
}

void Handover::settle_change(std::uint32_t number) {
  auto state = state_.lock();
  Memory::Change& change = memory_->changes[number];
  HandoverWord(change.settled).store(1);
  if (state->places.contains(change.request)) {
    state->settled[change.request].push_back(number);
    return;
  }
  HandoverWord(change.size).store(0);
  state->free_changes.push_back(number);
}

std::vector<std::pair<std::uint32_t, std::string>> Handover::changes() const {
  std::vector<std::pair<std::uint32_t, std::string>> all;
  for (std::uint32_t number = 0; number < kChanges; ++number)
    if (const Memory::Change& change = memory_->changes[number];
        change.size != 0 && change.size <= kMostChange && change.settled == 0)
      all.emplace_back(number, std::string(memory_->change_bytes[number], change.size));
  std::ranges::sort(all, {}, [this](const auto& each) { return memory_->changes[each.first].number; });
  return all;
}

std::optional<std::string> Handover::done_for(std::uint64_t request) const {
  auto state = state_.lock();
  const auto found = state->done_before.find(request);
  if (found == state->done_before.end()) return {};
  const Memory::Change& change = memory_->changes[found->second];
  return std::string(memory_->change_bytes[found->second], change.size);
}

}  // namespace hffs
