// SPDX-License-Identifier: Apache-2.0
#include "state_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <memory>

#include "hffs/bytes.h"
#include "hffs/state_check.h"

namespace hffs {
namespace {

constexpr std::string_view kDirectory = "hffs-v1";
constexpr std::string_view kDirectoryPrefix = "hffs-v";
constexpr unsigned kVersion = 1;
// Others may pass through the store's directory to the control socket in it, and see nothing else.
constexpr mode_t kPassThrough = 0711;
constexpr mode_t kPrivate = 0700;
constexpr std::size_t kMostFormatBytes = 4'096;

// The mode is set exactly, whatever the umask, but only on a directory that is made here.
Result<void> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno == EEXIST) return {};
    return fail(system_error(errno, fmt::format("making {}", path)));
  }
  if (::chmod(path.c_str(), mode) != 0)
    return fail(system_error(errno, fmt::format("setting the mode of {}", path)));
  return {};
}

// As far as they may be opened: what cannot be synced here is synced by the system, in a while.
void sync_parents(const std::string& path, Disk& disk) {
  for (std::size_t slash = path.rfind('/'); slash != path.npos && slash > 0;
       slash = path.rfind('/', slash - 1))
    if (!disk.sync_directory(path.substr(0, slash))) return;
}

Result<std::string> make_state_dir(const std::string& path, Disk& disk) {
  if (path.empty()) return fail(Code::invalid, "no state directory is given");
  for (std::size_t slash = path.find('/', 1); slash != path.npos; slash = path.find('/', slash + 1))
    if (const std::string parent = path.substr(0, slash); !exists(parent))
      if (auto made = make_directory(parent, 0755); !made) return fail(made);
  const bool is_new = !exists(path);
  if (auto made = make_directory(path, kPassThrough); !made) return fail(made);
  if (is_new) sync_parents(path, disk);
  // Without symbolic links, since the store follows none.
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (!real) return fail(system_error(errno, fmt::format("resolving {}", path)));
  return std::string(real.get());
}

Result<void> check_file_system(const std::string& state_dir) {
  struct statfs found {};
  if (::statfs(state_dir.c_str(), &found) != 0)
    return fail(system_error(errno, fmt::format("examining the file system of {}", state_dir)));
  const std::string_view name = network_file_system(static_cast<std::uint32_t>(found.f_type));
  if (name.empty()) return {};
  return fail(
      Code::unsupported,
      "{} is on {}, where neither the index nor its lock can be trusted; put --state-dir on "
      "a local disk",
      state_dir, name);
}

// A store of a later version and none of ours: an older program must not begin a second one.
Result<void> check_siblings(const std::string& state_dir) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(state_dir.c_str()), &::closedir);
  if (!directory) return fail(system_error(errno, fmt::format("listing {}", state_dir)));
  while (const dirent* item = ::readdir(directory.get())) {
    const std::string_view name = item->d_name;
    if (!name.starts_with(kDirectoryPrefix)) continue;
    const std::string_view digits = name.substr(kDirectoryPrefix.size());
    unsigned version = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), version);
    if (error == std::errc() && end == digits.data() + digits.size() && version > kVersion)
      return fail(Code::unsupported,
                  "{} holds {}, the store of a newer hffs; use that, or another --state-dir",
                  state_dir, name);
  }
  return {};
}

std::string read_text(int fd) {
  std::string text(kMostFormatBytes, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

}  // namespace

Result<void> check_state_dir(const std::string& state_dir) {
  std::string found = state_dir;
  while (found.size() > 1 && !exists(found)) found.resize(std::max<std::size_t>(found.rfind('/'), 1));
  struct stat what{};
  if (::stat(found.c_str(), &what) != 0) return fail(system_error(errno, fmt::format("examining {}", found)));
  if (!S_ISDIR(what.st_mode)) return fail(Code::not_directory, "{} is not a directory; use another --state-dir", found);
  if (::faccessat(AT_FDCWD, found.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0)
    return fail(system_error(errno, found == state_dir ? fmt::format("{} cannot be written", found)
                                                       : fmt::format("{} cannot be made in {}", state_dir, found)));
  if (auto local = check_file_system(found); !local) return fail(local);
  if (found != state_dir) return {};
  const std::string format = fmt::format("{}/{}/FORMAT", state_dir, kDirectory);
  if (!exists(format)) return check_siblings(state_dir);
  const UniqueFd file(::open(format.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail(system_error(errno, fmt::format("opening {}", format)));
  return check_format(read_text(file.get()), format);
}

std::string_view network_file_system(std::uint64_t magic) {
  struct Known {
    std::uint64_t magic;
    std::string_view name;
  };
  // From linux/magic.h and, for those that are not in it, from the file systems' own sources.
  static constexpr std::array<Known, 12> kKnown{{{0x6969, "NFS"},
                                                 {0xff534d42, "CIFS"},
                                                 {0x517b, "SMB"},
                                                 {0xfe534d42, "SMB2"},
                                                 {0x65735546, "FUSE"},
                                                 {0x01021997, "9p"},
                                                 {0x00c36400, "Ceph"},
                                                 {0x5346414f, "AFS"},
                                                 {0x73757245, "Coda"},
                                                 {0x0bd00bd0, "Lustre"},
                                                 {0x47504653, "GPFS"},
                                                 {0x19830326, "BeeGFS"}}};
  for (const Known& known : kKnown)
    if (known.magic == magic) return known.name;
  return {};
}

std::string format_text() {
  return fmt::format("hffs-store\nversion {}\nblock {}\n", kVersion, kBlockSize);
}

Result<void> check_format(std::string_view text, std::string_view path) {
  if (text == format_text()) return {};
  if (!text.starts_with("hffs-store\n"))
    return fail(Code::unsupported,
                "{} is not that of a store of hffs; use another --state-dir, or move the directory "
                "away",
                path);
  std::string found(text.substr(text.find('\n') + 1, 80));
  for (char& c : found)
    if (c == '\n') c = ',';
  return fail(
      Code::unsupported,
      "{} says '{}', and this hffs reads 'version {},block {},' only; use the hffs that made "
      "it, or another --state-dir",
      path, found, kVersion, kBlockSize);
}

Result<StateDir> StateDir::open(const std::string& state_dir, Disk& disk) {
  auto parent = make_state_dir(state_dir, disk);
  if (!parent) return fail(parent);
  if (auto local = check_file_system(*parent); !local) return fail(local);
  StateDir opened;
  opened.root_ = fmt::format("{}/{}", *parent, kDirectory);
  // Its directory may be there before its store: the log file lies in it.
  if (!exists(opened.root_ + "/FORMAT"))
    if (auto alone = check_siblings(*parent); !alone) return fail(alone);
  if (auto made = make_directory(opened.root_, kPassThrough); !made) return fail(made);
  if (auto locked = opened.lock(); !locked) return fail(locked);
  if (auto known = opened.open_format(disk); !known) return fail(known);
  for (const std::string& path :
       {opened.index(), opened.filling(), opened.blobs(), opened.quarantine()})
    if (auto made = make_directory(path, kPrivate); !made) return fail(made);
  // Names are durable before anything is found through them.
  if (auto synced = disk.sync_directory(opened.root_); !synced) return fail(synced);
  if (auto synced = disk.sync_directory(*parent); !synced) return fail(synced);
  return opened;
}

Result<void> StateDir::lock() {
  const std::string path = root_ + "/LOCK";
  lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!lock_) return fail(system_error(errno, fmt::format("opening {}", path)));
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(system_error(errno, fmt::format("locking {}", path)));
    std::string holder = read_text(lock_.get());
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(Code::busy, "the store {} is in use by process {}", root_,
                holder.empty() ? "?" : holder);
  }
  // The number is for people; a full disk must not keep a store from being read.
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock_.get(), 0) == 0) (void)!::pwrite(lock_.get(), text.data(), text.size(), 0);
  return {};
}

Result<void> StateDir::open_format(Disk& disk) {
  const std::string path = root_ + "/FORMAT";
  auto file = disk.open(path, O_RDONLY, 0);
  if (file) return check_format(read_text(file->get()), path);
  if (file.error().code != Code::not_found) return fail(file);
  // FORMAT is made before anything else, and whole or not at all.
  if (exists(index() + "/data.mdb"))
    return fail(Code::unsupported,
                "{} has an index but no FORMAT, so nobody knows what it is; move it away", root_);
  const std::string fresh = path + ".new";
  auto made = disk.open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!made) return fail(made);
  const std::string text = format_text();
  if (auto put = disk.pwrite_all(made->get(), std::as_bytes(std::span(text)), 0); !put)
    return fail(std::move(put.error()).during(fresh));
  if (auto synced = disk.sync_data(made->get()); !synced) return fail(synced);
  return disk.rename(fresh, path);
}

std::string StateDir::filling(std::uint64_t number) const {
  return fmt::format("{}/{}", filling(), number);
}
std::string StateDir::blobs(const BlobId& id) const {
  return fmt::format("{}/{}", blobs(), std::string_view(id.hex()).substr(0, 2));
}
std::string StateDir::blob(const BlobId& id) const {
  return fmt::format("{}/{}", blobs(id), id.hex());
}
std::string StateDir::quarantine(const BlobId& id, std::uint64_t number,
                                 std::uint32_t incarnation) const {
  return fmt::format("{}/{}-{}-{}", quarantine(), id.hex(), number, incarnation);
}
Result<std::string> StateDir::for_others(std::string_view name) const {
  const bool plain =
      !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == name.npos;
  std::string path = fmt::format("{}/{}", root_, name);
  if (!plain || path == index() || path == filling() || path == blobs() || path == quarantine() ||
      path == damaged())
    return fail(Code::invalid, "'{}' cannot be a directory of another module", name);
  return path;
}

}  // namespace hffs
