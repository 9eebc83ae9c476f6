// SPDX-License-Identifier: Apache-2.0
//
// An import's thread: plan, then copy file by file into a directory of the store's own, from where
// the store takes what has the right hash. The copy is private before it is hashed, so whatever
// the source's owner writes later changes no blob; by reflink where the file system can. No hard
// links: a second name would let the source's owner change verified bytes.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <thread>

#include "hffs/guarded.h"
#include "hffs/telemetry.h"
#include "import_plan.h"

namespace hffs {

namespace carry {
namespace {

// Enough for small files to share the store's commits, and for one large file to be copied while
// another is hashed; little enough to be hashed from memory.
constexpr std::size_t kMostUnderWay = 16, kFewUnderWay = 2;
constexpr std::chrono::milliseconds kLookAround{100};  // for a stop
constexpr std::uint64_t kManyBytes = std::uint64_t{256} << 20;
constexpr std::uint64_t kWriteBehind = std::uint64_t{8} << 20;

Result<void> empty_directory(const std::string& path, Disk& disk) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (!directory) return fail(system_error(errno, path));
  while (const dirent* item = ::readdir(directory.get())) {
    const std::string name = item->d_name;
    if (name == "." || name == "..") continue;
    if (auto removed = disk.remove(path + '/' + name); !removed) return removed;
  }
  return {};
}

class ImporterImpl final : public Importer {
 public:
  ImporterImpl(ImportRequest request, Trees& trees, Store& store, Disk& disk, std::string directory)
      : open_(std::move(request.open)),
        request_(std::move(request)),
        trees_(trees),
        store_(store),
        disk_(disk),
        directory_(std::move(directory)),
        thread_([this](std::stop_token stop) { run(stop); }) {}

  CarryProgress progress() const override { return state_.lock()->progress; }
  std::optional<Result<ImportReport>> result() const override { return state_.lock()->result; }

 private:
  struct State {
    CarryProgress progress;
    std::optional<Result<ImportReport>> result;
  };
  // What has been handed to the store. Outlived by its completions.
  struct UnderWay {
    std::size_t files = 0;
    std::uint64_t bytes = 0;
    std::vector<std::pair<Take, Result<void>>> settled;
  };
  struct Shared {
    Guarded<UnderWay> under_way;
    std::condition_variable changed;
  };

  void run(const std::stop_token& stop);
  Result<ImportReport> work(const std::stop_token& stop);
  Result<void> check_identity(const Found& found) const;
  Result<void> take_all(const Folder& folder, const std::vector<Take>& takes, ImportReport& report,
                        const std::stop_token& stop);
  Result<std::string> stage(const Folder& folder, const Take& take, const std::stop_token& stop);
  Result<void> copy(int from, int to, std::uint64_t size, const std::stop_token& stop);
  void hand_over(const Take& take, const std::string& staged);
  Result<void> settle(ImportReport& report, bool all, const std::stop_token& stop);
  void say(std::string doing, std::uint64_t files, std::uint64_t bytes) {
    state_.lock()->progress = {.doing = std::move(doing), .files = files, .bytes = bytes};
  }
  void count(std::uint64_t files, std::uint64_t bytes) {
    auto state = state_.lock();
    state->progress.files_done += files;
    state->progress.bytes_done += bytes;
  }

  std::move_only_function<Result<OpenedFolder>(std::stop_token)> open_;  // of the thread
  const ImportRequest request_;
  Trees& trees_;
  Store& store_;
  Disk& disk_;
  const std::string directory_;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  mutable Guarded<State> state_;
  std::jthread thread_;
};

void ImporterImpl::run(const std::stop_token& stop) {
  Result<ImportReport> result = fail(Code::bug, "the import has not begun");
  try {
    result = work(stop);
  } catch (const std::exception& thrown) {
    result = fail(Code::bug, "the import cannot go on: {}", thrown.what());
  }
  state_.lock()->result = std::move(result);
}

Result<void> ImporterImpl::check_identity(const Found& found) const {
  // Where the cache has a store of its own the folder lies in what was opened.
  for (const std::string& place : {std::string(), std::filesystem::path(request_.path).filename().string()})
    if (const auto is = found.folder.identity(place); found.repos.size() == 1 && is && *is == request_.identity) return {};
  return fail(Code::refused, "{} is another directory by now", request_.path);
}

Result<ImportReport> ImporterImpl::work(const std::stop_token& stop) {
  say("reading the folder", 0, 0);
  auto opened = std::exchange(open_, {})(stop);
  if (!opened) return fail(opened);
  auto found = request_.repo ? read_plain(std::move(*opened), *request_.repo) : read_cache(std::move(*opened));
  if (!found) return fail(found);
  // What is missing in it may be there, where nobody looks any more.
  if (auto whole = found->folder.check(); !whole) return fail(whole);
  if (request_.identity)
    if (auto same = check_identity(*found); !same) return fail(same);
  say("asking for trees", 0, 0);
  ImportReport report;
  Planner planner(request_, trees_, store_, stop, [this](std::uint64_t bytes) {
    auto state = state_.lock();
    state->progress.doing = "naming files by their hash";
    state->progress.bytes_done += bytes;
  });
  auto takes = planner.plan(*found, report);
  if (!takes) return fail(takes);
  if (auto taken = take_all(found->folder, *takes, report, stop); !taken) return fail(taken);
  return report;
}

Result<void> ImporterImpl::take_all(const Folder& folder, const std::vector<Take>& takes,
                                    ImportReport& report, const std::stop_token& stop) {
  std::uint64_t bytes = 0;
  for (const Take& take : takes) bytes += take.blob.size;
  say("importing", takes.size(), bytes);
  Result<void> result;
  for (const Take& take : takes) {
    if (result = settle(report, false, stop); !result) break;
    auto staged = stage(folder, take, stop);
    if (staged) {
      hand_over(take, *staged);
      continue;
    }
    const Code code = staged.error().code;
    if (code == Code::cancelled || code == Code::no_space) {
      result = fail(staged);
      break;
    }
    report.skipped.push_back(code == Code::corrupt
                                 ? Skipped{take.place, Skip::wrong_bytes, staged.error().message}
                                 : refused(take.place, staged.error()));
  }
  auto settled = settle(report, true, stop);
  return result ? settled : result;
}

Result<std::string> ImporterImpl::stage(const Folder& folder, const Take& take,
                                        const std::stop_token& stop) {
  auto source = folder.open_file(take.place);
  if (!source) return fail(source);
  if (source->size != take.blob.size)
    return fail(Code::corrupt, "it has {} bytes, and {} of {} are expected", source->size,
                take.blob.size, take.blob.id.hex());
  // Never the same name twice: the store may still move what an import that was stopped has left.
  static std::atomic<std::uint64_t> number = 0;
  const std::string path = fmt::format("{}/{}", directory_, ++number);
  auto file = disk_.open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!file) return fail(file);
  Result<void> copied;
  if (::ioctl(file->get(), FICLONE, source->fd.get()) == 0)
    count(0, take.blob.size / 2);
  else if (copied = store_.bounds().await_room(take.blob.size); copied)
    copied = copy(source->fd.get(), file->get(), take.blob.size, stop);
  if (copied) return path;
  (void)disk_.remove(path);
  return fail(copied);
}

Result<void> ImporterImpl::copy(int from, int to, std::uint64_t size, const std::stop_token& stop) {
  ::posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
  std::uint64_t started = 0;
  return read_pieces(from, size, stop, [&](std::uint64_t at, std::span<const std::byte> piece) {
    auto written = disk_.pwrite_all(to, piece, at);
    if (!written) return written;
    const std::uint64_t end = at + piece.size();
    // A hint: the disk writes while more is read, not when the store makes all durable.
    if (end - started >= kWriteBehind) {
      (void)::sync_file_range(to, static_cast<off_t>(started), static_cast<off_t>(end - started),
                              SYNC_FILE_RANGE_WRITE);
      started = end;
    }
    count(0, piece.size() / 2);
    return written;
  });
}

void ImporterImpl::hand_over(const Take& take, const std::string& staged) {
  {
    auto under_way = shared_->under_way.lock();
    ++under_way->files;
    under_way->bytes += take.blob.size;
  }
  store_.import_file(take.blob.number, staged,
                     [shared = shared_, take, staged, disk = &disk_](Result<void> result) {
                       if (!result) (void)disk->remove(staged);
                       auto under_way = shared->under_way.lock();
                       under_way->settled.emplace_back(take, std::move(result));
                       shared->changed.notify_all();
                     });
}

// Waits until there is room for another file, or until nothing is under way. A stop does not wait:
// what the store has not answered by then it takes, or drops when it is closed.
Result<void> ImporterImpl::settle(ImportReport& report, bool all, const std::stop_token& stop) {
  Result<void> result;
  auto under_way = shared_->under_way.lock();
  const auto full = [&] {
    if (all) return under_way->files > 0;
    return under_way->files >= kMostUnderWay ||
           (under_way->files >= kFewUnderWay && under_way->bytes >= kManyBytes);
  };
  while (true) {
    for (auto& [take, outcome] : std::exchange(under_way->settled, {})) {
      --under_way->files;
      under_way->bytes -= take.blob.size;
      ImportedCommit& made = report.commits[take.commit];
      if (outcome) {
        ++made.taken_files;
        made.taken_bytes += take.blob.size;
        count(1, take.blob.size - take.blob.size / 2);
      } else if (outcome.error().code == Code::corrupt) {
        report.skipped.push_back({take.place, Skip::wrong_bytes, outcome.error().message});
      } else {
        result = fail(std::move(outcome.error()).during(take.place));
      }
    }
    if (!full() || (!result && !all)) return result;
    if (stop.stop_requested()) return fail(Code::cancelled, "stopped");
    under_way.wait_until(shared_->changed, std::chrono::steady_clock::now() + kLookAround);
  }
}

}  // namespace
}  // namespace carry

Result<std::unique_ptr<Importer>> Importer::start(ImportRequest request, Trees& trees, Store& store,
                                                  Disk& disk) {
  auto directory = store.directory("import");
  if (!directory) return fail(directory);
  // What an import that was killed has left.
  if (auto emptied = carry::empty_directory(*directory, disk); !emptied) return fail(emptied);
  return std::make_unique<carry::ImporterImpl>(std::move(request), trees, store, disk,
                                               std::move(*directory));
}

}  // namespace hffs
