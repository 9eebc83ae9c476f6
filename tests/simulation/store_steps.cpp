// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <thread>

#include "store_world.h"

namespace hffs::test {

void StoreWorld::step(Dice& dice) {
  clock_.time += 1'000;
  if (!store_) return;
  switch (dice.weighted({12, 30, 20, 8, 4, 5, 6, 8, 3, 5, disk_may_fail_ ? 5u : 0})) {
    case 0: add(dice); break;
    case 1: write(dice); break;
    case 2: read(dice); break;
    case 3: hold(dice); break;
    case 4: protect(dice); break;
    case 5: evict(dice); break;
    case 6: import(dice); break;
    case 7: flush(); break;
    case 8: restart(dice.chance(50), dice); break;
    case 9:
      if (calls_to_kill_ >= 0) break;
      luck_ = static_cast<RecordingDisk::Luck>(dice.below(3));
      trial_.note("the store is to be killed soon");
      calls_to_kill_ = static_cast<std::int64_t>(dice.below(dice.chance(50) ? 5 : 40));
      break;
    case 10: change_disk(dice); break;
  }
  if (orderly_ && store_) await_index();
  if (killed_) kill();
  if (store_) look();
}

std::optional<std::uint64_t> StoreWorld::any_number(Dice& dice) {
  const auto items = model_.copy().items;
  if (items.empty()) return std::nullopt;
  return std::next(items.begin(), static_cast<long>(dice.below(items.size())))->first;
}

std::shared_ptr<Blob> StoreWorld::open(std::uint64_t number) {
  auto opened = store_->open_blob(number);
  if (!opened) {
    trial_.check(model_.copy().disk_fails, "blob {} cannot be opened: {}", number, opened.error().message);
    return nullptr;
  }
  model_.see((*opened)->identity());
  model_.with([&](auto& state) { state.items.at(number).open.insert((*opened)->identity().incarnation); });
  return std::move(*opened);
}

void StoreWorld::let_go(std::uint64_t number, std::shared_ptr<Blob> blob) {
  model_.with([&](auto& state) {
    auto& open = state.items.at(number).open;
    if (const auto one = open.find(blob->identity().incarnation); one != open.end()) open.erase(one);
  });
}

void StoreWorld::add(Dice& dice) {
  const std::size_t which = dice.below(known_contents().size());
  const auto& content = known_contents()[which];
  const std::uint64_t number = add_blob(*store_, content.id, content.bytes.size());
  model_.with([&](auto& state) {
    auto& item = state.items[number];
    if (item.number == 0) trial_.note("blob {} is content {}, {} bytes", number, which, content.bytes.size());
    trial_.check(item.number == 0 || item.content == which, "blob {} has two contents", number);
    item.content = which;
    item.number = number;
    item.blocks.resize(block_count(content.bytes.size()));
  });
}

void StoreWorld::write(Dice& dice) {
  const auto number = any_number(dice);
  if (!number) return;
  auto blob = open(*number);
  if (!blob) return;
  const std::uint64_t size = blob->identity().size;
  std::vector<BlockIndex> blocks;
  for (const BlockRun& run : blob->missing({0, size}))
    for (BlockIndex block = run.first; block != run.end(); ++block) blocks.push_back(block);
  dice.shuffle(blocks);
  if (dice.chance(30) && blocks.size() > 1) blocks.resize(1);
  const int version = dice.chance(15) ? 1 + static_cast<int>(dice.below(200)) : 0;
  for (const auto& each : writing_)
    if (each.number == *number) blocks.clear();  // one writer for each, as transfer has it
  // Of all of them the model knows before the first is on its way: a kill may come with any.
  const std::size_t content = model_.with([&](auto& state) {
    auto& item = state.items.at(*number);
    if (item.incarnation != blob->identity().incarnation) blocks.clear();
    std::erase_if(blocks, [&](BlockIndex block) { return item.blocks[block].readable; });
    for (const BlockIndex block : blocks) item.blocks[block].version = version;
    return item.content;
  });
  for (const BlockIndex block : blocks) trial_.note("block {} of blob {} comes{}", block, *number, version == 0 ? "" : ", wrong");
  for (const BlockIndex block : blocks) {
    ++unanswered_;
    blob->write(block, block_of(known_contents()[content], block, version),
                [this, life = life_, number = *number, block,
                 incarnation = blob->identity().incarnation](Result<void> result) {
      if (life == life_)
        model_.with([&](auto& state) {
          auto& item = state.items.at(number);
          const Code code = result ? Code::bug : result.error().code;
          trial_.check(result || code == Code::stale || state.disk_fails || item.incarnation != incarnation ||
                           (code == Code::no_space && state.may_evict),
                       "block {} of blob {} is not taken: {}", block, number, result ? "" : result.error().message);
          if (result && item.incarnation == incarnation) item.blocks[block].readable = true;
        });
      --unanswered_;
    });
  }
  writing_.push_back({*number, std::move(blob)});
  if (orderly_ || dice.chance(80)) settle_writes();
}

// Until all writes are answered; then nobody holds their blobs.
void StoreWorld::settle_writes() {
  while (unanswered_ > 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
  for (auto& [number, blob] : writing_) {
    await_verdict(*blob);
    let_go(number, std::move(blob));
  }
  writing_.clear();
}

// What follows from what has come, a verdict above all, has happened, and all have heard of it: so the same seed does
// the same.
void StoreWorld::await_verdict(Blob& blob) {
  if (!store_ || !orderly_ || blob.identity().verified) return;
  // The writer looks once more at what it holds in memory when it has answered.
  (void)wait_for<void>([&](Done<void> done) { blob.write(0, {}, std::move(done)); });
  if (!blob.missing({0, blob.identity().size}).empty()) return;
  if (!wait_for<void>([&](Done<void> done) { blob.when_settled(std::move(done)); })) return;
  while (store_->blob(blob.identity().number)->incarnation <= blob.identity().incarnation)
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  await_index();
}

void StoreWorld::await_index() {
  (void)wait_for<void>([&](Done<void> done) { store_->write([](WriteTxn&) {}, std::move(done)); });
}

void StoreWorld::read_block(const Blob& blob, std::uint64_t number, BlockIndex block, ByteRange range) {
  const auto before = model_.copy().items.at(number);
  const bool readable = blob.readable(range);
  Bytes bytes(range.size);
  const auto count = blob.read(range.offset, bytes);
  const auto after = model_.copy().items.at(number);
  // A verdict came in between, or it is an object of before.
  if (after.incarnation != before.incarnation) return;
  const std::uint32_t its = blob.identity().incarnation;
  if (its != after.incarnation && !(after.verified && its + 1 == after.incarnation)) return;
  if (!readable) {
    // Of wrong bytes nothing is readable from their verdict on, before anybody is told.
    const bool condemned = blob.superseded() && StoreModel::is_wrong(before);
    trial_.check(!before.blocks[block].readable || model_.copy().disk_fails || condemned,
                 "block {} of blob {} has been readable, and is not any more", block, number);
    return;
  }
  if (!count) {
    trial_.check(model_.copy().disk_fails || killed_ || !blob.readable(range), "block {} of blob {} is readable, and reading it fails: {}", block,
                 number, count.error().message);
    return;
  }
  trial_.check(before.verified || before.blocks[block].version.has_value() || before.importing,
               "block {} of blob {} is readable, and never came", block, number);
  trial_.check(*count == range.size && StoreModel::is_right(before, block, bytes, range.offset),
               "wrong bytes are read in block {} of blob {}", block, number);
}

void StoreWorld::read(Dice& dice) {
  const auto one = [&](const Blob& blob, std::uint64_t number) {
    const std::uint64_t size = blob.identity().size;
    if (size == 0) return;
    const auto block = static_cast<BlockIndex>(dice.below(block_count(size)));
    const ByteRange all = bytes_of(block, size);
    const std::uint64_t offset = all.offset + dice.below(all.size);
    read_block(blob, number, block, {offset, 1 + dice.below(std::min<std::uint64_t>(all.end() - offset, 8'192))});
  };
  if (!held_.empty() && dice.chance(50)) {
    const Held& held = dice.pick(held_);
    return one(*held.blob, held.number);
  }
  const auto number = any_number(dice);
  if (!number) return;
  const auto blob = open(*number);
  if (!blob) return;
  one(*blob, *number);
  let_go(*number, blob);
}

void StoreWorld::hold(Dice& dice) {
  if (held_.size() > 3 || (!held_.empty() && dice.chance(40))) {
    Held held = std::move(held_.front());
    held_.pop_front();
    trial_.note("blob {} is closed", held.number);
    return let_go(held.number, std::move(held.blob));
  }
  const auto number = any_number(dice);
  if (!number) return;
  if (auto blob = open(*number)) {
    trial_.note("blob {} is held open", *number);
    held_.push_back({*number, std::move(blob)});
  }
}

void StoreWorld::wait_for_evictions() {
  (void)wait_for<Bounds::Outcome>(
      [&](Done<Bounds::Outcome> done) { store_->bounds().evict({.dry_run = true}, std::move(done)); });
}

void StoreWorld::protect(Dice& dice) {
  const auto number = any_number(dice);
  if (!number) return;
  settle_writes();
  wait_for_evictions();  // those that have been chosen before go
  model_.with([&](auto& state) {
    auto& item = state.items.at(*number);
    bool& which = dice.chance(60) ? item.pinned : item.only_copy;
    which = !which;
    trial_.note("blob {} is {}pinned and {}the only copy", *number, item.pinned ? "" : "not ", item.only_copy ? "" : "not ");
  });
}

void StoreWorld::evict(Dice& dice) {
  Bounds::Order order{.only_copies = dice.chance(30)};
  if (dice.chance(80))
    for (std::uint64_t i = dice.between(1, 3); i > 0; --i)
      if (const auto number = any_number(dice)) order.blobs.push_back(*number);
  trial_.note("to be evicted{}: {}", order.only_copies ? ", only copies, too" : "", fmt::join(order.blobs, " "));
  settle_writes();
  const bool could = model_.with([&](auto& state) {
    state.only_copies_may_go = order.only_copies;
    return std::exchange(state.may_evict, true);
  });
  const auto outcome = wait_for<Bounds::Outcome>(
      [&](Done<Bounds::Outcome> done) { store_->bounds().evict(std::move(order), std::move(done)); });
  trial_.check(outcome.has_value() || model_.copy().disk_fails, "an eviction fails: {}", outcome ? "" : outcome.error().message);
  wait_for_evictions();
  model_.with([&](auto& state) {
    state.only_copies_may_go = false;
    state.may_evict = could;
  });
}

void StoreWorld::import(Dice& dice) {
  const auto number = any_number(dice);
  if (!number) return;
  settle_writes();
  const auto item = model_.copy().items.at(*number);
  const auto& content = known_contents()[item.content];
  Bytes bytes = content.bytes;
  const bool wrong = !bytes.empty() && dice.chance(30);
  if (wrong) bytes[dice.below(bytes.size())] ^= std::byte{1};
  trial_.note("blob {} is imported{}", *number, wrong ? ", wrong" : "");
  const std::string path = directory_.path() + fmt::format("/{}/source", life_);
  {
    const auto file = disk_->open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!file || !disk_->truncate(file->get(), 0) || !disk_->pwrite_all(file->get(), bytes, 0)) return;
  }
  if (!wrong) model_.with([&](auto& state) { state.items.at(*number).importing = !item.verified; });
  const auto imported = wait_for<void>(
      [&](Done<void> done) { store_->import_file(*number, path, std::move(done)); });
  if (killed_) return;
  // Of a blob that is verified nothing needs to be looked at.
  if (imported)
    trial_.check(!wrong || store_->blob(*number)->verified, "invariant 11: wrong bytes are imported as blob {}", *number);
  else
    trial_.check(wrong || model_.copy().disk_fails || (max_size_ > 0 && imported.error().code == Code::no_space),
                 "blob {} cannot be imported: {}", *number, imported.error().message);
  if (imported && !wrong)
    trial_.check(store_->blob(*number)->verified || model_.copy().may_evict, "blob {} was imported, and is not verified", *number);
  if (imported) model_.see(*store_->blob(*number));  // before somebody is told
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

void StoreWorld::change_disk(Dice& dice) {
  if (dice.chance(50)) {
    trial_.note("the disk works");
    disk_->fail_percent = 0;
    return;
  }
  constexpr Op kFailing[] = {Op::open, Op::write, Op::truncate, Op::sync_data, Op::sync_directory, Op::rename, Op::remove};
  const Op op = kFailing[dice.below(std::size(kFailing))];
  model_.with([](auto& state) { state.disk_fails = true; });
  disk_->failing_op = static_cast<int>(op);
  disk_->failing_code = dice.chance(50) ? Code::no_space : Code::io;
  disk_->fail_percent = static_cast<unsigned>(dice.between(20, 100));
  trial_.note("the disk fails to {} {} times of 100", name_of(op), disk_->fail_percent.load());
}

void StoreWorld::flush() {
  settle_writes();
  trial_.note("flush");
  auto before = model_.copy();
  const auto flushed = store_->flush();
  if (killed_) return;
  // Of what could not be synced blocks are gone again.
  if (before.disk_fails)
    std::erase_if(before.items, [&](const auto& item) {
      const auto info = store_->blob(item.first);
      return !info || info->bytes_here < info->size;
    });
  if (flushed)
    model_.flushed(before);
  else
    trial_.check(model_.copy().disk_fails || max_size_ > 0, "flushing fails: {}", flushed.error().message);
}

void StoreWorld::look() {
  if (max_size_ == 0) return;
  const std::uint64_t used = store_->bounds().state().used;
  // What may not go may have been more when it was opened.
  trial_.check(used <= std::max(max_size_, most_used_), "{} bytes are used, {} may be", used, max_size_);
  most_used_ = std::min(most_used_, std::max(used, max_size_));
}

// The last life ends with a kill and a look at everything.
void StoreWorld::finish() {
  if (trial_.failed() || !store_) return;
  kill();
}

}  // namespace hffs::test
