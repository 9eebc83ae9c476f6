// SPDX-License-Identifier: Apache-2.0
#include "hffs/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>

namespace hffs {
namespace {

// Fits into the cache of a core: what is copied through it comes from memory once.
constexpr std::size_t kPiece = std::size_t{256} << 10;
constexpr int kAttempts = 1'000;

class LocalLooker final : public Looker {
 public:
  LocalLooker(std::string path, UniqueFd root, std::function<void()> beat)
      : path_(std::move(path)), root_(std::move(root)), beat_(std::move(beat)) {}

  Result<std::vector<Item>> list(const std::string& place) override;
  Result<UniqueFd> open_file(const std::string& place) override {
    // Not blocked by a pipe, and no device is touched before it is known to be a file.
    return open_beneath(place, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  }
  Result<std::string> read_link(const std::string& place) override;
  Result<Identity> identity(const std::string& place) override;

 private:
  Result<UniqueFd> open_beneath(const std::string& place, int flags) const;
  void beat() const {
    if (beat_) beat_();
  }

  const std::string path_;
  const UniqueFd root_;
  const std::function<void()> beat_;
};

Result<UniqueFd> LocalLooker::open_beneath(const std::string& place, int flags) const {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  beat();
  const char* name = place.empty() ? "." : place.c_str();
  // EAGAIN: something was renamed somewhere while the kernel followed a "..".
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), name, &how, sizeof(how))));
    if (fd) return fd;
    if (errno != EAGAIN) break;
  }
  if (errno == EXDEV)
    return fail(Code::refused, "it leads out of {}", path_);
  if (errno == ELOOP) return fail(Code::not_found, "its links lead in a circle");
  return fail(system_error(errno, fmt::format("{}/{}", path_, place)));
}

Result<std::vector<Looker::Item>> LocalLooker::list(const std::string& place) {
  auto fd = open_beneath(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) return fail(fd);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(fd->get()), &::closedir);
  if (!directory) return fail(system_error(errno, fmt::format("{}/{}", path_, place)));
  const int number = fd->release();
  std::vector<Item> items;
  errno = 0;
  while (const dirent* found = ::readdir(directory.get())) {
    const std::string name = found->d_name;
    if (name == "." || name == "..") continue;
    beat();
    struct stat status{};
    if (::fstatat(number, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
      items.push_back({name, status.st_mode & S_IFMT});
    else if (errno != ENOENT)
      return fail(system_error(errno, fmt::format("{}/{}/{}", path_, place, name)));
    errno = 0;
  }
  if (errno != 0) return fail(system_error(errno, fmt::format("listing {}/{}", path_, place)));
  std::ranges::sort(items, {}, &Item::name);
  return items;
}

Result<Looker::Identity> LocalLooker::identity(const std::string& place) {
  const auto fd = open_beneath(place, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) return fail(Error(fd.error()));
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0) return fail(system_error(errno, fmt::format("{}/{}", path_, place)));
  return Identity(status.st_dev, status.st_ino);
}

Result<std::string> LocalLooker::read_link(const std::string& place) {
  auto link = open_beneath(place, O_PATH | O_NOFOLLOW);
  if (!link) return fail(link);
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(link->get(), "", target.data(), target.size());
  if (size < 0) return fail(system_error(errno, fmt::format("{}/{}", path_, place)));
  return std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace

Result<Folder> Folder::open(const std::string& path, std::function<void()> beat) {
  if (beat) beat();
  UniqueFd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail(system_error(errno, fmt::format("opening {}", path)));
  return Folder(path, std::make_shared<LocalLooker>(path, std::move(root), std::move(beat)));
}

Result<std::vector<Looker::Item>> Folder::list(const std::string& place) const {
  return looker_->list(place);
}

Result<std::string> Folder::read_link(const std::string& place) const {
  return looker_->read_link(place);
}

Result<bool> Folder::is_directory(const std::string& place) const {
  const auto found = looker_->identity(place);
  if (found) return true;
  const Code code = found.error().code;
  if (code == Code::not_found || code == Code::not_directory || code == Code::refused) return false;
  return fail(Error(found.error()));
}

Result<Stamp> stamp_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail(system_error(errno, "looking at an open file"));
  if (!S_ISREG(status.st_mode)) return fail(Code::invalid, "it is not a regular file");
  const auto nanoseconds = [](const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return Stamp{.inode = status.st_ino,
               .size = static_cast<std::uint64_t>(status.st_size),
               .modified = nanoseconds(status.st_mtim),
               .changed = nanoseconds(status.st_ctim)};
}

Result<Folder::File> Folder::open_file(const std::string& place) const {
  auto fd = looker_->open_file(place);
  if (!fd) return fail(fd);
  const auto stamp = stamp_of(fd->get());
  if (!stamp) return fail(Error(stamp.error()));
  return File{std::move(*fd), stamp->size, *stamp};
}

Result<std::string> Folder::read_small(const std::string& place, std::size_t most) const {
  auto file = open_file(place);
  if (!file) return fail(file);
  std::string text(std::min<std::uint64_t>(file->size, most + 1), '\0');
  auto count = system_disk().pread_some(file->fd.get(),
                                        std::as_writable_bytes(std::span(text)), 0);
  if (!count) return fail(count);
  text.resize(*count);
  if (text.size() > most) return fail(Code::invalid, "it has more than {} bytes", most);
  return text;
}

Result<void> read_pieces(
    int fd, std::uint64_t size, const std::stop_token& stop,
    const std::function<Result<void>(std::uint64_t, std::span<const std::byte>)>& take) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kPiece, size));
  for (std::uint64_t at = 0; at < size;) {
    if (stop.stop_requested()) return fail(Code::cancelled, "stopped");
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    auto count = system_disk().pread_some(fd, part, at);
    if (!count) return fail(count);
    if (*count != part.size()) return fail(Code::corrupt, "it ends at byte {}", at + *count);
    if (auto taken = take(at, part); !taken) return taken;
    at += part.size();
  }
  return {};
}

std::string_view name_of(Skip why) {
  switch (why) {
    case Skip::partial: return "partial";
    case Skip::broken_link: return "broken_link";
    case Skip::outside: return "outside";
    case Skip::wrong_bytes: return "wrong_bytes";
    case Skip::unreadable: return "unreadable";
    case Skip::not_in_tree: return "not_in_tree";
    case Skip::unreferenced: return "unreferenced";
    case Skip::bad_name: return "bad_name";
    case Skip::unconfirmed: return "unconfirmed";
  }
  return "unknown";
}

Skipped refused(const std::string& place, const Error& error) {
  if (error.code == Code::not_found) return {place, Skip::broken_link, "it leads nowhere"};
  if (error.code == Code::refused) return {place, Skip::outside, error.message};
  const bool passing = error.code == Code::io || info(error.code).retry_helps;
  return {place, Skip::unreadable, error.message, passing};
}

}  // namespace hffs
