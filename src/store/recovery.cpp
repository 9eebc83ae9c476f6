// SPDX-License-Identifier: Apache-2.0
#include "recovery.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blob_rows.h"
#include "hffs/record.h"
#include "recency.h"
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
    const bool filling = !row->verified && !row->claimed.empty();
    if (filling) found.claiming.insert(number);
    if (filling && row->claimed.count() == block_count(row->size))
      found.unverified.push_back(number);
    else if (row->bytes_here() > 0)
      found.held.push_back(number);
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

struct Left {
  std::uint64_t number = 0;
  std::optional<BlobId> id;  // of which a whole file may be left
  std::uint64_t size = 0;
};

std::vector<Left> find_evictions(const ReadTxn& txn) {
  std::vector<Left> all;
  txn.scan(Table::evictions, {}, {}, [&](std::string_view key, std::string_view value) {
    Left left{Reader(key).key_u64(), std::nullopt, 0};
    if (const auto row = load_blob_row(txn, left.number); row && is_left_by_eviction(*row, value)) {
      left.id = row->id;
      left.size = row->size;
    }
    all.push_back(std::move(left));
    return true;
  });
  return all;
}

// Their blobs hold nothing any more, so nobody would count these bytes. What fails is tried again at
// the next start. Files in filling/ are swept like all that nobody claims.
void finish_evictions(Environment& environment, const StateDir& directory, Disk& disk,
                      const std::vector<Left>& all, Recovered& found) {
  Result<void> done;
  for (const Left& left : all) {
    if (!left.id || !done) continue;
    const std::string path = directory.blob(*left.id);
    struct stat file {};
    // One of another size belongs to another number, which has the right one.
    const bool present = ::lstat(path.c_str(), &file) == 0;
    if (present && static_cast<std::uint64_t>(file.st_size) != left.size) continue;
    done = disk.remove(path);
    // A folder that was never made has nothing to lose.
    if (const auto& folder = directory.blobs(*left.id); done && ::access(folder.c_str(), F_OK) == 0)
      done = disk.sync_directory(folder);
    ++found.swept;
  }
  if (done && !all.empty()) {
    IndexTxn txn(environment);
    for (const Left& left : all) end_eviction(txn, left.number);
    done = txn.commit();
    if (!done) environment.reopen_if_failed();
  }
  if (!done) log(Level::warn, "store", "files of evicted blobs stay: {}", done.error().message);
}

}  // namespace

Result<Recovered> recover(Environment& environment, const StateDir& directory, Disk& disk) {
  Recovered found;
  std::vector<Left> evictions;
  environment.read([&](const ReadTxn& txn) {
    read_rows(txn, found);
    evictions = find_evictions(txn);
    for (const auto& [number, time] : load_times(txn))
      found.last_open = std::max(found.last_open, time);
  });
  if (auto swept = sweep_filling(directory, disk, found); !swept) return fail(swept);
  finish_evictions(environment, directory, disk, evictions, found);
  return found;
}

}  // namespace hffs
