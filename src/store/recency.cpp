// SPDX-License-Identifier: Apache-2.0
#include "recency.h"

#include <algorithm>
#include <utility>

#include "blob_rows.h"
#include "hffs/record.h"

namespace hffs {
namespace {

constexpr std::uint8_t kUseVersion = 1;

std::optional<std::int64_t> decode_time(std::string_view value) {
  Reader record(value);
  const bool known = record.u8() == kUseVersion;
  const std::int64_t time = record.i64();
  if (!known || !record.complete()) return {};
  return time;
}

}  // namespace

void Recency::touch(std::uint64_t number) {
  auto state = state_.lock();
  if (state->stopped) return;
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::microseconds>(clock_.wall().time_since_epoch())
          .count();
  state->latest = std::max(now, state->latest + 1);
  state->unsaved[number] = state->latest;
}

std::optional<std::int64_t> Recency::unsaved(std::uint64_t number) const {
  auto state = state_.lock();
  const auto found = state->unsaved.find(number);
  if (found == state->unsaved.end()) return {};
  return found->second;
}

Recency::Times Recency::take_unsaved() {
  return std::exchange(state_.lock()->unsaved, {});
}

void Recency::put_back(const Times& times) {
  auto state = state_.lock();
  for (const auto& [number, time] : times) state->unsaved.try_emplace(number, time);
}

void save_times(WriteTxn& txn, const Recency::Times& times) {
  for (const auto& [number, time] : times)
    txn.put(Table::blob_uses, blob_key(number), RecordWriter(kUseVersion).i64(time));
}

void forget_time(WriteTxn& txn, std::uint64_t number) {
  txn.erase(Table::blob_uses, blob_key(number));
}

std::optional<std::int64_t> load_time(const ReadTxn& txn, std::uint64_t number) {
  const auto value = txn.get(Table::blob_uses, blob_key(number));
  return value ? decode_time(*value) : std::nullopt;
}

Recency::Times load_times(const ReadTxn& txn) {
  Recency::Times times;
  txn.scan(Table::blob_uses, {}, {}, [&](std::string_view key, std::string_view value) {
    Reader number(key);
    const std::uint64_t blob = number.key_u64();
    const auto time = decode_time(value);
    if (time && number.complete()) times.emplace(blob, *time);
    return true;
  });
  return times;
}

}  // namespace hffs
