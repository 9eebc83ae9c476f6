// SPDX-License-Identifier: Apache-2.0
#include "recovery.h"

#include <dirent.h>

#include <charconv>
#include <memory>
#include <string>
#include <string_view>

#include "blob_rows.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

void read_rows(const ReadTxn& txn, Recovered& found) {
  txn.scan(Table::blobs, {}, {}, [&](std::string_view key, std::string_view value) {
    Reader reader(key);
    const std::uint64_t number = reader.key_u64();
    const auto row = decode_blob(value);
    if (!row || !reader.complete()) return true;  // logged by whoever asks for it
    ++found.totals.blobs;
    found.totals.verified_blobs += row->verified ? 1 : 0;
    found.totals.bytes += static_cast<std::int64_t>(row->bytes_here());
    if (row->verified || row->claimed.empty()) return true;
    found.claiming.insert(number);
    if (row->claimed.count() == block_count(row->size)) found.unverified.push_back(number);
    return true;
  });
}

bool is_claimed(std::string_view name, const Recovered& found) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() &&
         found.claiming.contains(number);
}

// Bytes that no row claims may or may not be there; they would only take room until they are
// fetched again.
Result<void> sweep_filling(const StateDir& directory, Disk& disk, Recovered& found) {
  const std::string folder = directory.filling();
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), &::closedir);
  if (!listing) return fail(system_error(errno, fmt::format("listing {}", folder)));
  while (const dirent* item = ::readdir(listing.get())) {
    const std::string_view name = item->d_name;
    if (name == "." || name == ".." || is_claimed(name, found)) continue;
    if (auto removed = disk.remove(fmt::format("{}/{}", folder, name)); !removed)
      log(Level::warn, "store", "a leftover file stays: {}", removed.error().message);
    else
      ++found.swept;
  }
  return {};
}

}  // namespace

Result<Recovered> recover(const Environment& environment, const StateDir& directory, Disk& disk) {
  Recovered found;
  environment.read([&](const ReadTxn& txn) { read_rows(txn, found); });
  if (auto swept = sweep_filling(directory, disk, found); !swept) return fail(swept);
  return found;
}

}  // namespace hffs
