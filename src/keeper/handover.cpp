// SPDX-License-Identifier: Apache-2.0
//
// The memory, the session and the requests. Open nodes and changes: handover_rows.cpp.
#include "hffs/handover.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "handover_memory.h"

namespace hffs {
namespace {

constexpr std::uint64_t kMagic = 0x31726576'6f646e61;  // "andover1"

// The kernel wants no answer to these.
bool is_answered(std::uint32_t opcode) {
  return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

}  // namespace

Result<UniqueFd> Handover::create() {
  UniqueFd memory(::memfd_create("hffs-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return fail(system_error(errno, "making a memory file"));
  if (::ftruncate(memory.get(), sizeof(Memory)) != 0)
    return fail(system_error(errno, "sizing a memory file"));
  // A worker that cut it short would take the mapping from under its successor.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail(system_error(errno, "sealing a memory file"));
  return memory;
}

Result<std::unique_ptr<Handover>> Handover::map(const UniqueFd& memory) {
  struct stat found {};
  if (::fstat(memory.get(), &found) != 0) return fail(system_error(errno, "a memory file"));
  if (static_cast<std::size_t>(found.st_size) != sizeof(Memory))
    return fail(Code::unsupported, "the keeper is of another version; unmount, and mount again");
  void* mapped = ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) return fail(system_error(errno, "mapping a memory file"));
  auto* laid_out = static_cast<Memory*>(mapped);
  if (laid_out->magic != 0 && laid_out->magic != kMagic) {
    ::munmap(mapped, sizeof(Memory));
    return fail(Code::unsupported, "the keeper is of another version; unmount, and mount again");
  }
  laid_out->magic = kMagic;
  return std::unique_ptr<Handover>(new Handover(laid_out));
}

Handover::Handover(Memory* memory) : memory_(memory) {}

void Handover::take_over() {
  ++memory_->generation;
  auto state = state_.lock();
  for (std::uint32_t row = kRows; row-- > 0;)
    if (memory_->rows[row].node == 0) state->free_rows.push_back(row);
  find_left(*state);
  find_changes(*state);
}

Handover::~Handover() {
  ::munmap(memory_, sizeof(Memory));
}

std::uint64_t Handover::generation() const {
  return memory_->generation;
}

// --- the session ---------------------------------------------------------------------------------

std::optional<Handover::Session> Handover::session() const {
  if (memory_->answer_bytes == 0) return {};
  // What the worker before says is no length of ours.
  const auto bytes = [](const std::byte* from, std::uint32_t size) {
    return std::vector<std::byte>(from, from + std::min<std::size_t>(size, kMostInit));
  };
  return Session{bytes(memory_->init, memory_->init_bytes), bytes(memory_->answer, memory_->answer_bytes)};
}

void Handover::keep_session(std::span<const std::byte> request, std::span<const std::byte> answer) {
  const auto keep = [](std::byte* to, std::uint32_t& size, std::span<const std::byte> bytes) {
    bytes = bytes.first(std::min(bytes.size(), kMostInit));
    std::memcpy(to, bytes.data(), bytes.size());
    std::atomic_ref(size).store(static_cast<std::uint32_t>(bytes.size()));
  };
  keep(memory_->init, memory_->init_bytes, request);
  keep(memory_->answer, memory_->answer_bytes, answer);
}

// --- requests ------------------------------------------------------------------------------------

std::byte* Handover::place(std::uint32_t number) const {
  return number < kDesks ? memory_->desks[number] : memory_->places[number - kDesks];
}

std::atomic_ref<std::uint32_t> Handover::taken(std::uint32_t number) const {
  return HandoverWord(number < kDesks ? *reinterpret_cast<std::uint32_t*>(memory_->desks[number])
                                : memory_->notes[number].size);
}

std::span<std::byte> Handover::desk(unsigned number) {
  const std::span<std::byte> desk = memory_->desks[number];
  for (std::size_t at = 0; at < desk.size(); at += kPage) {
    volatile std::byte* touched = &desk[at];
    *touched = *touched;
  }
  return desk;
}

Handover::Index Handover::index() const {
  return memory_->index;
}

void Handover::keep_index(const Index& index) {
  memory_->index = index;
}

void Handover::begin(unsigned desk) {
  const fuse_in_header header = header_of(place(desk));
  memory_->notes[desk] = {.tries = 1};
  if (is_answered(header.opcode)) state_.lock()->places[header.unique] = desk;
}

// The length goes last when a place is filled, and first when it is emptied. What is noted of it goes with it:
// the next request may be in a desk before anybody has looked.
void Handover::forget(std::uint32_t number) {
  taken(number).store(0);
  memory_->notes[number] = {};
}

void Handover::clear_desk(unsigned desk) {
  const fuse_in_header header = header_of(place(desk));
  auto state = state_.lock();
  while (true) {
    const auto waiting = state->places.find(header.unique);
    if (waiting == state->places.end() || waiting->second != desk) break;
    if (state->free_places.empty()) {
      state.wait(freed_);
      continue;
    }
    const std::uint32_t to = state->free_places.back();
    state->free_places.pop_back();
    const std::size_t size = std::min<std::size_t>(header.len, kPlaceBytes);
    memory_->notes[to] = memory_->notes[desk];
    memory_->notes[to].size = 0;
    // It waits: no worker ends with that.
    memory_->notes[to].tries = 0;
    if (memory_->notes[desk].answers != 0) memory_->answers[to] = memory_->answers[desk];
    std::memcpy(place(to), place(desk), size);
    taken(to).store(static_cast<std::uint32_t>(size));
    waiting->second = to;
  }
  forget(desk);
}

void Handover::answering(std::uint64_t unique, std::span<const iovec> answer) {
  auto state = state_.lock();
  const auto found = state->places.find(unique);
  if (found == state->places.end()) return;
  auto& to = memory_->answers[found->second];
  std::size_t size = 0;
  for (const iovec& part : answer) size += part.iov_len;
  if (size > Memory::kMostAnswer) return;
  std::size_t at = 0;
  for (const iovec& part : answer) {
    std::memcpy(to.bytes + at, part.iov_base, part.iov_len);
    at += part.iov_len;
  }
  to.size = static_cast<std::uint32_t>(size);
  std::atomic_ref(memory_->notes[found->second].answers).store(1);
}

void Handover::answered(std::uint64_t unique) {
  auto state = state_.lock();
  const auto found = state->places.find(unique);
  if (found == state->places.end()) return;
  const std::uint32_t number = found->second;
  state->places.erase(found);
  if (const auto changes = state->settled.find(unique); changes != state->settled.end()) {
    for (const std::uint32_t change : changes->second) {
      HandoverWord(memory_->changes[change].size).store(0);
      state->free_changes.push_back(change);
    }
    state->settled.erase(changes);
  }
  forget(number);
  if (number < kDesks) return;
  state->free_places.push_back(number);
  freed_.notify_one();
}

void Handover::find_left(State& state) {
  // One that was on its way from a desk to its place is in both: the place has all that was noted.
  for (std::uint32_t i = kDesks; i < 2 * kDesks + kPlaces; ++i) {
    const std::uint32_t number = i % (kDesks + kPlaces);
    const std::uint32_t size = taken(number).load();
    const std::size_t most = number < kDesks ? kDeskBytes : kPlaceBytes;
    const bool whole = size >= sizeof(fuse_in_header) && size <= most;
    const fuse_in_header header = whole ? header_of(place(number)) : fuse_in_header{};
    if (!whole || !is_answered(header.opcode) || state.places.contains(header.unique)) {
      forget(number);
      if (number >= kDesks) state.free_places.push_back(number);
      continue;
    }
    state.places[header.unique] = number;
    Memory::Note& note = memory_->notes[number];
    Left left{.request = {}, .answer = {}, .tries = note.tries, .place = number};
    left.request.assign(place(number), place(number) + size);
    settle_count(number);
    if (note.answers != 0) left.answer = answer_of(number, header.unique);
    state.left.push_back(std::move(left));
  }
  // The lowest is taken first: few pages are touched.
  std::ranges::reverse(state.free_places);
  // The kernel numbers requests as they come.
  std::ranges::sort(state.left, {}, [](const Left& left) { return header_of(left.request.data()).unique; });
}

std::vector<Handover::Left> Handover::left() {
  return std::exchange(state_.lock()->left, {});
}

// What stands there may be another request's, if whoever wrote it came no further.
std::vector<std::byte> Handover::answer_of(std::uint32_t number, std::uint64_t unique) const {
  const auto& answer = memory_->answers[number];
  fuse_out_header header;
  if (answer.size < sizeof(header) || answer.size > Memory::kMostAnswer) return {};
  std::memcpy(&header, answer.bytes, sizeof(header));
  if (header.unique != unique) return {};
  return {answer.bytes, answer.bytes + answer.size};
}

void Handover::try_again(const Left& left) {
  ++memory_->notes[left.place].tries;
}

void Handover::settle(const Left& left) {
  if (left.place >= kDesks) memory_->notes[left.place].tries = 0;
  if (left.place < kDesks) clear_desk(left.place);
}

}  // namespace hffs
