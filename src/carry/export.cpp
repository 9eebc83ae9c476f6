// SPDX-License-Identifier: Apache-2.0
//
// An export reads a mount as any client does, so that it sees what its user may see and fetches as
// readers fetch; and it writes with its user's rights.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "hffs/carry.h"
#include "hffs/content_hash.h"
#include "hffs/layout.h"
#include "hffs/naming.h"

namespace hffs {
namespace carry {
namespace {

// Beside what it becomes, and of no use to any client. One for a directory: whoever comes second is
// told so, and what a killed export has left is written over.
constexpr const char* kTemporary = "tmp-hffs-export";

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

class Exporter {
 public:
  Exporter(const ExportRequest& request, Disk& disk,
           const std::function<void(const CarryProgress&)>& tell)
      : request_(request), disk_(disk), tell_(tell) {}

  Result<ExportReport> run();

 private:
  Result<void> put(const Folder& folder, const FoundFile& file);
  Result<void> place(const Folder& folder, const FoundFile& file, const std::string& target);
  Result<bool> is_there(const FoundFile& file, const std::string& target);
  Result<std::string> copy(const Folder& folder, const FoundFile& file, int to);
  Result<void> put_link(const FoundFile& file);
  Result<void> put_ref();
  Result<UniqueFd> open_temporary(const std::string& directory);
  Result<void> make_directories(const std::string& path);
  Result<void> sync_directories();
  void count(std::uint64_t bytes) {
    progress_.bytes_done += bytes;
    tell_(progress_);
  }

  const ExportRequest& request_;
  Disk& disk_;
  const std::function<void(const CarryProgress&)>& tell_;
  std::string repo_;      // the repository's directory that is written; DIR itself if flat
  std::string snapshot_;  // where the files' names go
  std::set<std::string> directories_;  // made or changed
  CarryProgress progress_{.doing = "exporting"};
  ExportReport report_;
};

Result<ExportReport> Exporter::run() {
  const std::filesystem::path given(request_.snapshot);
  const auto commit = CommitId::parse(given.filename().string());
  if (!commit) return fail(Code::invalid, "{} is no commit's directory", request_.snapshot);
  auto found = read_snapshot(given.parent_path().parent_path().string(), *commit);
  if (!found) return fail(found);
  repo_ = request_.directory;
  if (!request_.flat) repo_ += '/' + found->repos.front().id.layout();
  snapshot_ = request_.flat ? repo_ : fmt::format("{}/snapshots/{}", repo_, commit->hex());
  report_.path = snapshot_;

  const std::string below = fmt::format("snapshots/{}/", commit->hex());
  for (Skipped& refused : found->skipped) {
    if (refused.path.starts_with(below)) refused.path.erase(0, below.size());
    if (request_.files.takes(refused.path)) report_.failed.push_back(std::move(refused));
  }
  std::vector<FoundFile>& files = found->repos.front().commits.front().files;
  std::erase_if(files, [&](const FoundFile& file) { return !request_.files.takes(file.path); });
  progress_.files = files.size();
  for (const FoundFile& file : files) progress_.bytes += file.size;
  for (const FoundFile& file : files) {
    auto done = put(found->folder, file);
    if (!done && (done.error().code == Code::no_space || done.error().code == Code::busy))
      return fail(done);
    if (!done) report_.failed.push_back({file.path, Skip::unreadable, done.error().message});
    ++progress_.files_done;
    tell_(progress_);
  }
  if (files.empty() && report_.failed.empty())
    return fail(Code::not_found, "{} has no file of this name", request_.snapshot);
  // The ref comes last, and only to a copy that has everything.
  if (!request_.flat && !request_.revision.empty() && report_.failed.empty())
    if (auto put = put_ref(); !put) return fail(put);
  if (auto synced = sync_directories(); !synced) return fail(synced);
  return report_;
}

Result<void> Exporter::put(const Folder& folder, const FoundFile& file) {
  if (!file.blob) return fail(Code::invalid, "it is not in a mount of hffs");
  const std::string target = request_.flat ? snapshot_ + '/' + file.path
                                           : fmt::format("{}/blobs/{}", repo_, file.blob->hex());
  if (auto made = make_directories(parent_of(target)); !made) return made;
  if (auto placed = place(folder, file, target); !placed) return placed;
  if (request_.flat) return {};
  return put_link(file);
}

Result<void> Exporter::place(const Folder& folder, const FoundFile& file,
                             const std::string& target) {
  auto there = is_there(file, target);
  if (!there) return fail(there);
  if (*there) {
    ++report_.present_files;
    report_.present_bytes += file.size;
    return {};
  }
  const std::string directory = parent_of(target);
  auto temporary = open_temporary(directory);
  if (!temporary) return fail(temporary);
  // Wrong bytes are fetched again by the daemon, which has noticed them when they were whole.
  const std::string name = directory + '/' + kTemporary;
  std::string hex;
  for (int attempt = 0; attempt < 2 && hex != file.blob->hex(); ++attempt) {
    auto copied = copy(folder, file, temporary->get());
    if (!copied) {
      (void)disk_.remove(name);
      return fail(copied);
    }
    hex = std::move(*copied);
  }
  if (hex != file.blob->hex()) {
    (void)disk_.remove(name);
    return fail(Code::corrupt, "the hash of its bytes is {}, not {}", hex, file.blob->hex());
  }
  if (auto synced = disk_.sync_data(temporary->get()); !synced) return synced;
  if (auto moved = disk_.rename(name, target); !moved) return moved;
  directories_.insert(directory);
  ++report_.written_files;
  report_.written_bytes += file.size;
  return {};
}

// What an export before this one has written.
Result<bool> Exporter::is_there(const FoundFile& file, const std::string& target) {
  auto there = disk_.open(target, O_RDONLY | O_NONBLOCK, 0);
  if (!there) return false;
  struct stat status{};
  if (::fstat(there->get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<std::uint64_t>(status.st_size) != file.size)
    return false;
  std::uint64_t counted = 0;
  const auto hash = hash_file(there->get(), file.size, file.blob->kind(), {}, [&](std::uint64_t n) {
    counted += n;
    count(n);
  });
  if (hash && *hash == *file.blob) return true;
  progress_.bytes_done -= counted;
  return false;
}

Result<UniqueFd> Exporter::open_temporary(const std::string& directory) {
  const std::string name = directory + '/' + kTemporary;
  auto file = disk_.open(name, O_RDWR | O_CREAT, 0644);
  if (!file) return file;
  if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::busy, "another export is writing into {}", directory);
  return file;
}

// The hash of what was copied.
Result<std::string> Exporter::copy(const Folder& folder, const FoundFile& file, int to) {
  auto source = folder.open_file(file.place);
  if (!source) return fail(source);
  auto hash = ContentHash::start(file.blob->kind(), file.size);
  if (!hash) return fail(hash);
  if (auto emptied = disk_.truncate(to, 0); !emptied) return fail(emptied);
  std::uint64_t copied = 0;
  auto read = read_pieces(
      source->fd.get(), file.size, {}, [&](std::uint64_t at, std::span<const std::byte> piece) {
        auto taken = hash->update(piece);
        if (taken) taken = disk_.pwrite_all(to, piece, at);
        if (taken) count(piece.size());
        if (taken) copied += piece.size();
        return taken;
      });
  if (!read) {
    progress_.bytes_done -= copied;
    return fail(read);
  }
  return hash->finish();
}

Result<void> Exporter::put_link(const FoundFile& file) {
  const std::string link = snapshot_ + '/' + file.path;
  if (auto made = make_directories(parent_of(link)); !made) return made;
  std::string target = "../../blobs/" + file.blob->hex();
  for (const char c : file.path)
    if (c == '/') target.insert(0, "../");
  std::error_code error;
  if (std::filesystem::read_symlink(link, error) == target && !error) return {};
  const std::string name = parent_of(link) + '/' + kTemporary;
  if (auto removed = disk_.remove(name); !removed) return removed;
  if (::symlink(target.c_str(), name.c_str()) != 0) return fail(system_error(errno, name));
  directories_.insert(parent_of(link));
  return disk_.rename(name, link);
}

Result<void> Exporter::put_ref() {
  const std::string ref = repo_ + "/refs/" + request_.revision;
  const std::string directory = parent_of(ref);
  if (auto made = make_directories(directory); !made) return made;
  auto file = open_temporary(directory);
  if (!file) return fail(file);
  const std::string commit = std::filesystem::path(snapshot_).filename().string();
  if (auto emptied = disk_.truncate(file->get(), 0); !emptied) return emptied;
  if (auto written = disk_.pwrite_all(file->get(), std::as_bytes(std::span(commit)), 0); !written)
    return written;
  if (auto synced = disk_.sync_data(file->get()); !synced) return synced;
  directories_.insert(directory);
  return disk_.rename(directory + '/' + kTemporary, ref);
}

Result<void> Exporter::make_directories(const std::string& path) {
  if (directories_.contains(path)) return {};
  const std::string above = parent_of(path);
  if (path.size() > request_.directory.size())
    if (auto made = make_directories(above); !made) return made;
  directories_.insert(path);
  return disk_.make_directory(path, 0755);
}

Result<void> Exporter::sync_directories() {
  for (const std::string& directory : directories_)
    if (auto synced = disk_.sync_directory(directory); !synced) return synced;
  return {};
}

}  // namespace
}  // namespace carry

Result<ExportReport> export_snapshot(const ExportRequest& request, Disk& disk,
                                     const std::function<void(const CarryProgress&)>& tell) {
  return carry::Exporter(request, disk, tell).run();
}

}  // namespace hffs
