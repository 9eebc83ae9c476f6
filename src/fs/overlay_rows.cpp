// SPDX-License-Identifier: Apache-2.0
#include "overlay_rows.h"

#include <future>

#include "hffs/record.h"

namespace hffs::fs {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kSequence = "overlay";
// A number is the process's turn and a counter below it.
constexpr int kCounterBits = 32;
constexpr std::uint64_t kMostQueued = 4'096;

std::string key_of(std::uint64_t number) {
  return KeyWriter().u64(number).bytes();
}

}  // namespace

std::string encode(const OverlayRow& row) {
  RecordWriter writer(kVersion);
  writer.u32(row.user)
      .u32(row.group)
      .u8(static_cast<std::uint8_t>(row.kind))
      .u8(static_cast<std::uint8_t>(row.territory))
      .u32(row.mode)
      .i64(row.modified.time_since_epoch().count())
      .u64(row.parent.value)
      .text(row.name)
      .text(row.target);
  return std::string(std::string_view(writer));
}

std::optional<OverlayRow> decode(std::string_view key, std::string_view value) {
  Reader keys(key), values(value);
  OverlayRow row;
  row.number = keys.key_u64();
  if (values.u8() != kVersion) return {};
  row.user = values.u32();
  row.group = values.u32();
  const std::uint8_t kind = values.u8();
  const std::uint8_t territory = values.u8();
  row.mode = values.u32();
  row.modified = WallTime(std::chrono::seconds(values.i64()));
  row.parent = {values.u64()};
  row.name = values.text();
  row.target = values.text();
  if (!keys.complete() || !values.complete() || row.name.empty()) return {};
  if (kind > static_cast<std::uint8_t>(FileKind::symlink) ||
      territory > static_cast<std::uint8_t>(Territory::refs))
    return {};
  row.kind = static_cast<FileKind>(kind);
  row.territory = static_cast<Territory>(territory);
  return row;
}

std::vector<OverlayRow> load_rows(const Store& store) {
  std::vector<OverlayRow> rows;
  store.read([&](const ReadTxn& txn) {
    rows.clear();
    txn.scan(Table::overlay, {}, {}, [&](std::string_view key, std::string_view value) {
      if (auto row = decode(key, value))
        rows.push_back(std::move(*row));
      else
        log(Level::error, "fs", "an overlay row cannot be read and is left out");
      return true;
    });
  });
  return rows;
}

Result<std::uint64_t> reserve_numbers(Store& store) {
  auto turn = std::make_shared<std::uint64_t>(0);
  auto promise = std::make_shared<std::promise<Result<void>>>();
  auto written = promise->get_future();
  store.write([turn](WriteTxn& txn) { *turn = txn.next_number(kSequence); },
              [promise](Result<void> result) { promise->set_value(std::move(result)); });
  if (auto result = written.get(); !result) return fail(result);
  return (*turn << kCounterBits) + 1;
}

void RowWriter::queue(std::move_only_function<void(WriteTxn&)> body) {
  ++progress_->counts.lock()->queued;
  store_.write(std::move(body), [progress = progress_](Result<void> written) {
    {
      auto counts = progress->counts.lock();
      ++counts->settled;
      if (!written) {
        if (!counts->failure)
          log(Level::error, "fs", "overlay changes were not saved: {}", written.error().message);
        counts->failure = std::move(written.error());
      }
    }
    progress->moved.notify_all();
  });
}

void RowWriter::put(const OverlayRow& row, std::optional<std::uint64_t> instead_of) {
  queue([key = key_of(row.number), value = encode(row), instead_of](WriteTxn& txn) {
    if (instead_of) txn.erase(Table::overlay, key_of(*instead_of));
    txn.put(Table::overlay, key, value);
  });
}

void RowWriter::erase(std::uint64_t number) {
  queue([key = key_of(number)](WriteTxn& txn) { txn.erase(Table::overlay, key); });
}

Result<void> RowWriter::wait() {
  auto counts = progress_->counts.lock();
  const std::uint64_t until = counts->queued;
  while (counts->settled < until) counts.wait(progress_->moved);
  if (!counts->failure) return {};
  return fail(*std::exchange(counts->failure, std::nullopt));
}

void RowWriter::ease() {
  auto counts = progress_->counts.lock();
  while (counts->queued - counts->settled > kMostQueued) counts.wait(progress_->moved);
}

}  // namespace hffs::fs
