// SPDX-License-Identifier: Apache-2.0
#include "store_model.h"

#include <algorithm>

namespace hffs::test {

bool StoreModel::is_right(const Item& item, BlockIndex block, std::span<const std::byte> bytes,
                          std::uint64_t offset) {
  const auto& content = known_contents()[item.content];
  if (item.importing && is_part(bytes, content.bytes, offset)) return true;
  const int version = item.verified ? 0 : item.blocks[block].version.value_or(0);
  const Bytes right = block_of(content, block, version);
  return is_part(bytes, right, offset - block * kBlockSize);
}

bool StoreModel::is_wrong(const Item& item) {
  return std::ranges::any_of(item.blocks, [](const Block& block) { return block.version.value_or(0) != 0; });
}

bool StoreModel::may_have_gone(const Item& item, std::uint32_t ended) const {
  if (!trial_.check(state_.may_evict, "blob {} was evicted, and nothing asked for that", item.number)) return false;
  if (!trial_.check(!item.pinned, "blob {} was evicted though it is pinned", item.number)) return false;
  if (!trial_.check(!item.only_copy || state_.only_copies_may_go, "blob {} was evicted, and was the only copy",
                    item.number))
    return false;
  return trial_.check(item.open.empty() || *item.open.begin() > ended,
                      "invariant 12: blob {} was evicted while somebody had it open", item.number);
}

void StoreModel::advance(Item& item, std::uint32_t incarnation, bool verified, bool by_eviction) {
  trial_.note("  blob {} is incarnation {}{}{}", item.number, incarnation, verified ? ", verified" : "",
              by_eviction ? ", evicted" : "");
  const bool wrong = is_wrong(item);
  if (verified) {
    const bool all = std::ranges::all_of(item.blocks, [](const Block& block) { return block.version.has_value(); });
    trial_.check(item.importing || (all && !wrong), "invariant 11: blob {} is verified, and its bytes are not right",
                 item.number);
    for (Block& block : item.blocks) block = {.version = 0, .readable = true, .durable = true};
  } else {
    if (!by_eviction && !wrong && !state_.disk_fails) may_have_gone(item, incarnation - 1);
    for (Block& block : item.blocks) block = {};
  }
  item.incarnation = incarnation;
  item.verified = verified;
  // A file that could not be removed is found again, and is right.
  if (!wrong) item.importing = !verified && state_.disk_fails;
  if (verified) item.importing = false;
}

void StoreModel::see(const BlobInfo& info) {
  const std::lock_guard lock(mutex_);
  const auto found = state_.items.find(info.number);
  if (found == state_.items.end() || info.incarnation <= found->second.incarnation) return;
  advance(found->second, info.incarnation, info.verified, false);
}

void StoreModel::evicted(std::uint64_t number, std::uint32_t ended) {
  const std::lock_guard lock(mutex_);
  const auto found = state_.items.find(number);
  if (found == state_.items.end()) return;
  if (!may_have_gone(found->second, ended) || ended < found->second.incarnation) return;
  advance(found->second, ended + 1, false, true);
}

void StoreModel::flushed(const State& before) {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, was] : before.items) {
    Item& item = state_.items.at(number);
    if (item.incarnation != was.incarnation) continue;
    for (std::size_t i = 0; i < item.blocks.size(); ++i)
      if (was.blocks[i].readable) item.blocks[i].durable = true;
  }
}

void StoreModel::restart_cleanly() {
  const std::lock_guard lock(mutex_);
  for (auto& [number, item] : state_.items) {
    item.open.clear();
    for (Block& block : item.blocks) block.durable = block.durable || (block.readable && !state_.disk_fails);
    for (Block& block : item.blocks) block.readable = block.durable;
  }
}

void StoreModel::restart(State as_it_was, const std::map<std::uint64_t, BlobRow>& rows) {
  const std::lock_guard lock(mutex_);
  state_ = std::move(as_it_was);
  for (auto& [number, item] : state_.items) {
    const auto row = rows.find(number);
    if (!trial_.check(row != rows.end(), "blob {} is not in the index any more", number)) continue;
    // What the index knows and nobody has been told of yet.
    if (row->second.incarnation > item.incarnation)
      advance(item, row->second.incarnation, row->second.verified, false);
    trial_.check(row->second.incarnation == item.incarnation, "blob {} is incarnation {} again, and was {}", number,
                 row->second.incarnation, item.incarnation);
    item.open.clear();
    // Its verdict may have taken its file away already.
    const bool condemned = !item.verified && is_wrong(item);
    for (BlockIndex i = 0; i < item.blocks.size(); ++i) {
      Block& block = item.blocks[i];
      const bool claimed = row->second.verified || row->second.claimed.test(i);
      trial_.check(claimed || !block.durable || condemned, "invariant 6: block {} of blob {} was durable, and the index has lost it",
                   i, number);
      trial_.check(!claimed || block.version.has_value() || item.importing, "invariant 6: block {} of blob {} is claimed, and never came",
                   i, number);
      block.readable = block.durable = claimed && !condemned;
    }
  }
}

}  // namespace hffs::test
