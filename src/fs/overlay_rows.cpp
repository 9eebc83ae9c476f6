// SPDX-License-Identifier: Apache-2.0
#include "overlay_rows.h"

#include <future>

#include "hffs/record.h"

namespace hffs::fs {
namespace {

constexpr std::uint8_t kVersion = 1, kStandingVersion = 2;
constexpr std::uint8_t kChangeVersion = 1;
constexpr std::string_view kSequence = "overlay";
// A number is the process's turn and a counter below it.
constexpr int kCounterBits = 32;
constexpr std::uint64_t kMostQueued = 4'096;

std::string key_of(std::uint64_t number) {
  return KeyWriter().u64(number).bytes();
}

}  // namespace

std::string encode(const OverlayRow& row) {
  // Those before it leave out what they do not know: it would not be there for them.
  const bool named = row.standing == Standing::named;
  RecordWriter writer(named ? kVersion : kStandingVersion);
  writer.u32(row.user)
      .u32(row.group)
      .u8(static_cast<std::uint8_t>(row.kind))
      .u8(static_cast<std::uint8_t>(row.territory))
      .u32(row.mode)
      .i64(row.modified.time_since_epoch().count())
      .u64(row.parent.value)
      .text(row.name)
      .text(row.target);
  if (!named) writer.u8(static_cast<std::uint8_t>(row.standing));
  return std::string(std::string_view(writer));
}

std::optional<OverlayRow> decode(std::string_view key, std::string_view value) {
  Reader keys(key), values(value);
  OverlayRow row;
  row.number = keys.key_u64();
  const std::uint8_t version = values.u8();
  if (version != kVersion && version != kStandingVersion) return {};
  row.user = values.u32();
  row.group = values.u32();
  const std::uint8_t kind = values.u8();
  const std::uint8_t territory = values.u8();
  row.mode = values.u32();
  row.modified = WallTime(std::chrono::seconds(values.i64()));
  row.parent = {values.u64()};
  row.name = values.text();
  row.target = values.text();
  const std::uint8_t standing = version == kStandingVersion ? values.u8() : 0;
  if (!keys.complete() || !values.complete() || row.name.empty()) return {};
  if (kind > static_cast<std::uint8_t>(FileKind::symlink) ||
      territory > static_cast<std::uint8_t>(Territory::refs) ||
      standing > static_cast<std::uint8_t>(Standing::absorbing))
    return {};
  row.kind = static_cast<FileKind>(kind);
  row.territory = static_cast<Territory>(territory);
  row.standing = static_cast<Standing>(standing);
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

namespace {

std::string encode_change(const std::vector<RowWriter::Edit>& edits) {
  RecordWriter writer(kChangeVersion);
  writer.u32(static_cast<std::uint32_t>(edits.size()));
  for (const auto& edit : edits) writer.u64(edit.number).text(edit.value);
  return std::string(std::string_view(writer));
}

std::vector<RowWriter::Edit> decode_change(std::string_view bytes) {
  Reader reader(bytes);
  std::vector<RowWriter::Edit> edits;
  if (reader.u8() != kChangeVersion) return {};
  for (std::uint32_t left = reader.u32(); left > 0 && reader.ok(); --left) {
    const std::uint64_t number = reader.u64();
    edits.push_back({number, std::string(reader.text())});
  }
  if (!reader.complete()) return {};
  return edits;
}

}  // namespace

void RowWriter::queue(std::vector<Edit> edits, std::optional<std::uint32_t> change) {
  ++progress_->counts.lock()->queued;
  store_.write(
      [edits = std::move(edits)](WriteTxn& txn) {
        for (const auto& [number, value] : edits)
          value.empty() ? txn.erase(Table::overlay, key_of(number))
                        : txn.put(Table::overlay, key_of(number), value);
      },
      [progress = progress_, change, &handover = handover_](Result<void> written) {
        // What the disk refused is no better asked again.
        if (change) handover.settle_change(*change);
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

void RowWriter::write(std::vector<Edit> edits, std::uint64_t request) {
  const auto change = handover_.add_change(request, encode_change(edits));
  queue(std::move(edits), change);
}

Result<void> RowWriter::go_on() {
  for (auto& [change, bytes] : handover_.changes()) queue(decode_change(bytes), change);
  return wait();
}

std::optional<std::uint64_t> RowWriter::done_for(std::uint64_t request) const {
  if (request == 0) return {};
  const auto bytes = handover_.done_for(request);
  if (!bytes) return {};
  const auto edits = decode_change(*bytes);
  return edits.empty() ? std::nullopt : std::optional(edits.front().number);
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
