// SPDX-License-Identifier: Apache-2.0
#include "lost_index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "blob_rows.h"
#include "hffs/posix.h"
#include "hffs/record.h"
#include "hffs/telemetry.h"

namespace hffs {
namespace {

namespace fs = std::filesystem;

// Read in a fraction of a second. A larger index is read after a stop that was not clean.
constexpr std::uint64_t kSmallIndex = std::uint64_t{256} << 20;
constexpr std::size_t kRowsTogether = 4'096;

std::string in_use(const StateDir& directory) { return directory.index() + "/in-use"; }
std::string to_rebuild(const StateDir& directory) { return directory.index() + "/to-rebuild"; }

// `visit` hears of each file below `folder` and says whether to go on.
void each_file(const std::string& folder, const std::function<bool(const fs::path&)>& visit) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; it != end && !error; it.increment(error))
    // As the directory says it: a look at each of 100,000 files would cost a disk that turns minutes.
    if (std::error_code unknown; it->is_regular_file(unknown) && !it->is_symlink(unknown))
      if (!visit(it->path())) return;
}
bool has_files(const std::string& folder) {
  bool any = false;
  each_file(folder, [&](const fs::path&) { return any = true, false; });
  return any;
}

Result<void> put_file(Disk& disk, const std::string& path, std::string_view text) {
  auto file = disk.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return fail(file);
  if (auto put = disk.pwrite_all(file->get(), std::as_bytes(std::span(text)), 0); !put) return put;
  return disk.sync_data(file->get());
}

std::string now_text() {
  const std::time_t now = ::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

std::string what_is_lost(const IndexCheck& index, bool overlay) {
  return fmt::format(
      "lost with it: trees of imports that the Hub has not confirmed{}{}; blobs in blobs/ are kept and "
      "checked again, all else is asked of the Hub",
      overlay ? ", and what users wrote (its bytes are in 'overlay' here)" : "",
      index.pins_saved ? "" : ", and pins, if there were any");
}

// The index goes last: until then the next start comes here again.
Result<void> put_aside(const StateDir& directory, Disk& disk, const IndexCheck& index) {
  const std::string folder = directory.damaged();
  if (auto made = disk.make_directory(folder, 0700); !made) return made;
  int number = 1;
  while (exists(fmt::format("{}/{}", folder, number))) ++number;
  const std::string place = fmt::format("{}/{}", folder, number);
  if (auto made = disk.make_directory(place, 0700); !made) return made;
  const std::string overlay = directory.root() + "/overlay";
  const bool has_overlay = has_files(overlay);
  const std::string text = fmt::format("{}: the index was put aside: {}; {}", now_text(),
                                       index.damage, what_is_lost(index, has_overlay));
  if (auto put = put_file(disk, place + "/WHY", text + "\n"); !put) return put;
  if (has_overlay)
    if (auto moved = disk.rename(overlay, place + "/overlay"); !moved) return moved;
  if (exists(directory.index() + "/data.mdb"))
    if (auto moved = disk.rename(directory.index(), place + "/index"); !moved) return moved;
  if (auto made = disk.make_directory(directory.index(), 0700); !made) return made;
  if (auto put = put_file(disk, to_rebuild(directory), {}); !put) return put;
  for (const std::string& changed : {place, folder, directory.index(), directory.root()})
    if (auto synced = disk.sync_directory(changed); !synced) return synced;
  log(Level::error, "store", "{}; it is in {}", text, place);
  return {};
}

}  // namespace

Result<LostIndex> look_at_index(const StateDir& directory, Disk& disk) {
  IndexCheck index;
  const bool unclean = exists(in_use(directory));
  struct stat file {};
  const bool present = ::lstat((directory.index() + "/data.mdb").c_str(), &file) == 0;
  if (present && file.st_size > 0) {
    const bool all = unclean || static_cast<std::uint64_t>(file.st_size) <= kSmallIndex;
    auto checked = check_index(directory.index(), all);
    if (!checked) return fail(checked);
    index = std::move(*checked);
  } else if (!exists(to_rebuild(directory)) &&
             (has_files(directory.blobs()) || has_files(directory.root() + "/overlay"))) {
    index.damage = present ? "its file is empty" : "its file is gone";
  }
  if (index.damage.empty()) return LostIndex{exists(to_rebuild(directory)), {}, unclean};
  if (auto moved = put_aside(directory, disk, index); !moved)
    return fail(std::move(moved.error()).during("putting a damaged index aside"));
  return LostIndex{true, std::move(index.saved), unclean};
}

Result<void> rebuild_index(const StateDir& directory, Disk& disk, Environment& environment,
                           const LostIndex& lost) {
  if (!lost.rebuild) return {};
  auto txn = std::make_unique<IndexTxn>(environment);
  for (const SavedRow& row : lost.saved) txn->put(row.table, row.key, row.value);
  std::size_t found = 0;
  Result<void> done;
  each_file(directory.blobs(), [&](const fs::path& path) {
    const auto id = BlobId::parse(path.filename().string());
    struct stat file {};
    if (!id || path.string() != directory.blob(*id) || ::lstat(path.c_str(), &file) != 0) return true;
    const auto size = static_cast<std::uint64_t>(file.st_size);
    if (size == 0 || size > kMostBlobBytes) return true;
    const std::uint64_t number = add_blob_row(*txn, *id, size);
    if (const auto row = load_blob_row(*txn, number); row && !row->verified)
      claim_blocks(*txn, number, row->incarnation, every_block(size));
    if (++found % kRowsTogether != 0) return true;
    done = txn->commit();
    txn = std::make_unique<IndexTxn>(environment);
    return done.has_value();
  });
  if (done) done = txn->commit();
  if (done) done = disk.remove(to_rebuild(directory));
  if (!done) return fail(std::move(done.error()).during("rebuilding the index"));
  log(Level::warn, "store", "the index was begun anew: {} files in blobs/ are checked, and counted as verified then",
      found);
  return {};
}

void claim_placed_files(const StateDir& directory, Environment& environment, const LostIndex& lost) {
  IndexTxn txn(environment);
  bool any = lost.unclean;
  txn.scan(Table::evictions, {}, {}, [&](std::string_view, std::string_view) { return any = true, false; });
  if (!any) return;
  each_file(directory.blobs(), [&](const fs::path& path) {
    const auto id = BlobId::parse(path.filename().string());
    struct stat file {};
    if (!id) return true;
    txn.scan(Table::blob_names, id->hex(), {}, [&](std::string_view, std::string_view value) {
      Reader reader(value);
      reader.u8();
      const std::uint64_t number = reader.u64();
      const auto row = load_blob_row(txn, number);
      if (!row || row->verified || row->size == 0 || row->claimed.count() == block_count(row->size)) return true;
      const auto eviction = txn.get(Table::evictions, blob_key(number));
      if (eviction && is_left_by_eviction(*row, *eviction)) return true;
      if (::lstat(path.c_str(), &file) == 0 && static_cast<std::uint64_t>(file.st_size) == row->size)
        claim_blocks(txn, number, row->incarnation, every_block(row->size));
      return true;
    });
    return true;
  });
  if (auto done = txn.commit(); !done) {
    environment.reopen_if_failed();
    log(Level::warn, "store", "files without a verdict are counted when they are opened: {}", done.error().message);
  }
}

// A full disk must not keep a store from being read.
void note_in_use(const StateDir& directory, Disk& disk) {
  if (auto file = disk.open(in_use(directory), O_WRONLY | O_CREAT, 0600); !file)
    log(Level::warn, "store", "a start after a crash would not notice it: {}", file.error().message);
}

void note_clean_stop(const StateDir& directory, Disk& disk) {
  if (auto removed = disk.remove(in_use(directory)); !removed)
    log(Level::warn, "store", "the next start takes longer: {}", removed.error().message);
}

std::vector<std::string> damages(const StateDir& directory) {
  std::vector<std::string> lines;
  for (int number = 1;; ++number) {
    const std::string place = fmt::format("{}/{}", directory.damaged(), number);
    if (!exists(place)) break;
    std::string line;
    std::ifstream file(place + "/WHY");
    std::getline(file, line);
    lines.push_back(fmt::format("{}; it is in {}", line, place));
  }
  return lines;
}

}  // namespace hffs
