// SPDX-License-Identifier: Apache-2.0
//
// The machine's disk, and a model of what of it would survive a power loss at each moment: bytes
// only by a sync_data that began after they were written, names only by a sync_directory that began
// after they were made.
#pragma once

#include <sys/stat.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "hffs/posix.h"

namespace hffs::test {

struct ModelFile {
  std::vector<std::byte> written, durable;
  std::uint64_t durable_size = 0;
};

class RecordingDisk : public Disk {
 public:
  struct Image {
    std::map<std::string, std::vector<std::byte>> files;  // path → content, as it would be found
  };
  // least: only what must be there. most: every name that was ever visible, and noise where bytes were not
  // synced. torn: those names, and of what was not synced some pages as they were written.
  enum class Luck { least, most, torn };
  // Called before each call, while the model stands still.
  std::function<void()> at_each_call;

  Image survives(Luck luck) const {  // within at_each_call, or when nothing runs
    constexpr std::size_t kPage = 4'096;
    Image image;
    for (const auto& [path, file] : luck == Luck::least ? durable_names_ : names_) {
      std::vector<std::byte> bytes = luck == Luck::least ? file->durable : file->written;
      for (std::size_t i = 0; luck != Luck::least && i < bytes.size(); i += kPage) {
        const std::size_t end = std::min(bytes.size(), i + kPage);
        const bool kept = luck == Luck::torn && (i / kPage * 2'654'435'761u + calls_) % 3 == 0;
        // Most pages are durable: a call tells, where a loop is what a sanitizer's run would go into.
        if (kept || (end <= file->durable.size() && std::memcmp(&bytes[i], &file->durable[i], end - i) == 0)) continue;
        for (std::size_t at = i; at < end; ++at)
          if (at >= file->durable.size() || bytes[at] != file->durable[at]) bytes[at] = std::byte{0x5a};
      }
      image.files.emplace(path, std::move(bytes));
    }
    return image;
  }
  bool synced_directory(const std::string& path) const {
    return synced_directories_.contains(path);
  }
  std::size_t calls() const { return calls_; }

  Result<UniqueFd> open(const std::string& path, int flags, mode_t mode) override {
    const auto lock = begin();
    auto opened = system_disk().open(path, flags, mode);
    if (!opened) return opened;
    auto& file = names_[path];
    if (!file) file = std::make_shared<ModelFile>();
    by_inode_[inode(opened->get())] = file;
    return opened;
  }
  Result<void> pwrite_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset) override {
    const auto lock = begin();
    auto& written = by_inode_[inode(fd)]->written;
    if (written.size() < offset + bytes.size()) written.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), written.begin() + static_cast<std::ptrdiff_t>(offset));
    return system_disk().pwrite_all(fd, bytes, offset);
  }
  Result<std::size_t> pread_some(int fd, std::span<std::byte> bytes,
                                 std::uint64_t offset) override {
    return system_disk().pread_some(fd, bytes, offset);
  }
  Result<void> truncate(int fd, std::uint64_t size) override {
    const auto lock = begin();
    by_inode_[inode(fd)]->written.resize(size);
    return system_disk().truncate(fd, size);
  }
  Result<void> sync_data(int fd) override {
    std::shared_ptr<ModelFile> file;
    std::vector<std::byte> as_begun;
    {
      const auto lock = begin();
      file = by_inode_[inode(fd)];
      as_begun = file->written;
    }
    auto synced = system_disk().sync_data(fd);
    const std::lock_guard lock(mutex_);
    if (synced) file->durable = std::move(as_begun);
    return synced;
  }
  Result<void> sync_directory(const std::string& path) override {
    std::map<std::string, std::shared_ptr<ModelFile>> as_begun;
    const auto lock = begin();  // the store syncs a directory from one thread
    for (const auto& [name, file] : names_)
      if (parent(name) == path) as_begun.emplace(name, file);
    auto synced = system_disk().sync_directory(path);
    if (!synced) return synced;
    synced_directories_.insert(path);
    // A rename is one step in a journal: with what it takes away here goes what it makes elsewhere.
    for (const auto& [old_name, file] : durable_names_)
      if (parent(old_name) == path && !as_begun.contains(old_name))
        for (const auto& [name, moved] : names_)
          if (moved == file) as_begun.emplace(name, file);
    std::erase_if(durable_names_, [&](const auto& item) {
      if (parent(item.first) == path) return true;
      for (const auto& [name, file] : as_begun)
        if (file == item.second) return true;
      return false;
    });
    durable_names_.insert(as_begun.begin(), as_begun.end());
    return synced;
  }
  Result<void> make_directory(const std::string& path, mode_t mode) override {
    const auto lock = begin();
    return system_disk().make_directory(path, mode);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    const auto lock = begin();
    auto moved = system_disk().rename(from, to);
    if (!moved || from == to) return moved;
    names_[to] = names_[from];
    names_.erase(from);
    return moved;
  }
  Result<void> remove(const std::string& path) override {
    const auto lock = begin();
    names_.erase(path);
    return system_disk().remove(path);
  }

  // From now on nobody is told of calls, nor is being told.
  void stop_telling() {
    const std::lock_guard lock(mutex_);
    at_each_call = {};
  }

 private:
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  static ino_t inode(int fd) {
    struct stat found {};
    ::fstat(fd, &found);
    return found.st_ino;
  }
  std::unique_lock<std::mutex> begin() {
    std::unique_lock lock(mutex_);
    ++calls_;
    if (at_each_call) at_each_call();
    return lock;
  }

  std::mutex mutex_;
  std::size_t calls_ = 0;
  std::map<std::string, std::shared_ptr<ModelFile>> names_, durable_names_;
  std::map<ino_t, std::shared_ptr<ModelFile>> by_inode_;
  std::set<std::string> synced_directories_;
};

}  // namespace hffs::test
