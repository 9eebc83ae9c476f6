// SPDX-License-Identifier: Apache-2.0
#include "orders.h"

#include <algorithm>

namespace hffs::prefetch {
namespace {

constexpr BlockIndex kRun = 8, kWindow = 64;
constexpr std::chrono::seconds kFirstRest{1}, kLongestRest{30};
// An answer of the control socket holds them.
constexpr std::size_t kMostFailed = 200, kMostWords = 500;
// In one go; an order may have a million that are here already.
constexpr int kLooksAtOnce = 256;
constexpr std::chrono::milliseconds kRenewal{100};
constexpr int kMostWrong = 3, kMostNotKept = 3;

// The origin, or a limit, has said no; asking again would not help. A blob that was renewed is looked at anew.
bool is_final(Code code) {
  if (code == Code::stale) return false;
  return !info(code).retry_helps || code == Code::over_quota;
}

// The words of another repository's refusal may name it.
std::string told_of(const Active& file, const Error& error) {
  return file.sources.front().repo == file.repo ? error.message : std::string(info(error.code).name);
}

}  // namespace

void Orders::handle(const Event& event) {
  std::visit([this](const auto& what) { note(what); }, event);
}

void Orders::work() {
  for (Order& order : orders_) work_on(order);
  // Whoever was first does not keep the others waiting.
  if (orders_.size() > 1) std::rotate(orders_.begin(), orders_.begin() + 1, orders_.end());
}

void Orders::note(const BytesCame& event) {
  Active& file = *event.file;
  const ByteRange range = bytes_of(event.run, file.file.blob.size);
  file.in_flight -= std::min(file.in_flight, range.size);
  in_flight_ -= std::min(in_flight_, range.size);
  if (!file.blob || file.blob->identity().incarnation != event.incarnation) {
    if (!event.result) event.charge->failed(range.size);
    return;
  }
  if (event.result && (file.blob->readable(range) || file.blob->superseded())) {
    file.progress = clock_.now();
    file.pause = std::chrono::seconds{0};
    file.trouble.clear();
    return;
  }
  file.cursor = std::min(file.cursor, event.run.first);
  if (event.result) return;  // it came, and is not kept: all of the file is looked at again, behind its end
  event.charge->failed(missing_bytes(*file.blob, range));
  // Several requests hear the same refusal.
  if (event.refusals != file.refusals) return;
  if (is_final(event.result.error().code)) return refused(event.file, event.result.error());
  rest(file, told_of(file, event.result.error()));
}

// Another place may have the same content: that of a repository which is gone is not the last word.
void Orders::refused(const std::shared_ptr<Active>& file, const Error& error) {
  if (!file->refusal) file->refusal = Error{error.code, told_of(*file, error), {}};
  if (error.code != Code::over_quota && error.code != Code::offline && file->sources.size() > 1) {
    file->sources.erase(file->sources.begin());
    ++file->refusals;
    return;
  }
  for (Order& order : orders_)
    if (std::erase(order.active, file) != 0) order.give_up(file->file, file->refusal->code, file->refusal->message);
}

void Orders::not_kept(Active& file) {
  ++file.not_kept;
  file.cursor = 0;
  rest(file, "the disk does not keep it: it is full, or at its limit");
}

void Orders::note(const Judged& event) {
  Active& file = *event.file;
  file.verifying = false;
  if (!event.result) return not_kept(file);
  for (Order& order : orders_)
    if (std::ranges::find(order.active, event.file) != order.active.end() && finish(order, file))
      std::erase(order.active, event.file);
}

// True: nothing is left to do for it.
bool Orders::finish(Order& order, Active& file) {
  if (!file.blob->whole()) {
    const auto before = file.blob->identity().incarnation;
    if (!open(file)) return false;
    const BlobInfo& now = file.blob->identity();
    if (!now.verified) {
      if (now.incarnation == before) {  // the next one is written down in a moment
        file.paused_until = clock_.now() + kRenewal;
        return false;
      }
      if (++file.wrong < kMostWrong) return false;
      order.give_up(file.file, Code::corrupt, "its bytes were wrong again and again");
      return true;
    }
  }
  order.state.bytes_done += file.file.blob.size;
  ++order.state.files_done;
  order.done.push_back(file.file);
  return true;
}

void Order::give_up(const TreeFile& file, Code code, std::string why) {
  ++state.files_failed;
  if (why.size() > kMostWords) why.resize(kMostWords);
  if (state.failed.size() < kMostFailed)
    state.failed.emplace_back(
        PrefetchQueue::FileState{.path = file.path, .size = file.blob.size, .trouble = std::move(why)}, code);
}

void Orders::rest(Active& file, const std::string& why) {
  const Instant now = clock_.now();
  file.trouble = why;
  if (now < file.paused_until) return;  // one trouble, many requests
  file.pause = std::clamp(file.pause * 2, kFirstRest, kLongestRest);
  file.paused_until = now + file.pause;
}

void Orders::end(Order& order, const Error& why) {
  for (const auto& file : order.active) order.waiting.push_back(file->file);
  order.active.clear();
  for (const TreeFile& file : order.waiting) order.give_up(file, why.code, why.message);
  order.waiting.clear();
}

// The blob as it is now. False: it cannot be had just now.
bool Orders::open(Active& file) {
  auto blob = store_.open_blob(file.file.blob.number);
  if (!blob) {
    rest(file, blob.error().message);
    return false;
  }
  file.blob = std::move(*blob);
  file.cursor = 0;
  return true;
}

// False: no file waits any more.
bool Orders::activate(Order& order) {
  if (order.waiting.empty()) return false;
  const auto file = std::make_shared<Active>(
      Active{.file = std::move(order.waiting.front()), .repo = order.state.repo, .blob = {}, .sources = {}, .refusal = {},
             .progress = clock_.now(), .trouble = {}});
  order.waiting.pop_front();
  auto sources = catalog_.sources_of(file->file.blob.number);
  if (!sources) {
    order.give_up(file->file, sources.error().code, sources.error().message);
    return true;
  }
  file->sources = std::move(*sources);
  // Who ordered it may see that one; of the others he is told nothing.
  const auto own = [&](const FileSource& source) { return source.repo == order.state.repo && source.commit == order.state.commit; };
  std::ranges::stable_partition(file->sources, own);
  const auto known = store_.blob(file->file.blob.number);
  if (known && known->verified) {
    order.state.bytes_done += known->size;
    ++order.state.files_done;
    order.done.push_back(std::move(file->file));
    return true;
  }
  order.active.push_back(file);
  return true;
}

void Orders::work_on(Order& order) {
  for (int looked = 0; looked < kLooksAtOnce && order.active.size() < options_.files_at_once; ++looked)
    if (!activate(order)) break;
  const Instant now = clock_.now();
  std::erase_if(order.active, [&](const std::shared_ptr<Active>& file) {
    if (file->not_kept >= kMostNotKept) {
      order.give_up(file->file, Code::no_space, file->trouble);
      return true;
    }
    // Who waits for his turn, behind readers and other files, is in no trouble.
    if (file->trouble.empty() || now - file->progress <= options_.patience) return false;
    order.give_up(file->file, Code::timed_out, fmt::format("nothing has come: {}", file->trouble));
    return true;
  });
  for (std::size_t i = 0; i < order.active.size(); ++i) {
    const auto file = order.active[i];
    if (file->verifying || now < file->paused_until) continue;
    if (!file->blob && !open(*file)) continue;
    if (file->blob->superseded() && finish(order, *file)) {
      order.active.erase(order.active.begin() + static_cast<std::ptrdiff_t>(i--));
      continue;
    }
    if (auto pumped = pump(order, *file); !pumped) return end(order, pumped.error());
    const std::uint64_t size = file->blob->identity().size;
    if (file->in_flight != 0 || file->cursor < block_count(size)) continue;
    file->blob->readable({0, size}) ? ask_verdict(file) : not_kept(*file);
  }
}

// An error: its user may have nothing fetched.
Result<void> Orders::pump(Order& order, Active& file) {
  const std::uint64_t size = file.blob->identity().size;
  const BlockIndex blocks = block_count(size);
  while (in_flight_ < options_.bytes_ahead && file.in_flight < options_.bytes_ahead_of_file && file.cursor < blocks) {
    const auto missing = file.blob->missing(bytes_of(BlockRun{file.cursor, std::min(kWindow, blocks - file.cursor)}, size));
    if (missing.empty()) {
      file.cursor = std::min(blocks, file.cursor + kWindow);
      continue;
    }
    const BlockRun run{missing.front().first, std::min(kRun, missing.front().count)};
    const ByteRange range = bytes_of(run, size);
    if (auto taken = budget_.take_bytes(order.who, range.size); !taken) return taken;
    const auto charge = std::make_shared<Charge>(budget_, order.who, range.size);
    if (file.in_flight == 0 && file.trouble.empty()) file.progress = clock_.now();
    file.cursor = run.end();
    file.in_flight += range.size;
    in_flight_ += range.size;
    const auto self = std::ranges::find_if(order.active, [&](const auto& each) { return each.get() == &file; });
    const std::uint64_t begun = transfer_.fetch_ahead(
        file.blob, {file.sources.front()}, range,
        [post = post_, held = *self, run, incarnation = file.blob->identity().incarnation, charge,
         refusals = file.refusals](Result<void> result) {
          post(BytesCame{held, incarnation, run, std::move(result), charge, refusals});
        });
    charge->begun(begun);
  }
  return {};
}

void Orders::ask_verdict(const std::shared_ptr<Active>& file) {
  file->verifying = true;
  file->blob->when_settled(
      [post = post_, file](Result<void> result) { post(Judged{file, std::move(result)}); });
}

}  // namespace hffs::prefetch
