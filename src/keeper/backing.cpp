// SPDX-License-Identifier: Apache-2.0
#include "backing.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "hffs/telemetry.h"

namespace hffs {
namespace {

// Older kernel headers have neither.
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned kDeviceType = 229;
constexpr unsigned long kOpen = _IOW(kDeviceType, 1, BackingMap);
constexpr unsigned long kClose = _IOW(kDeviceType, 2, std::uint32_t);

Error registration_error(int reason) {
  switch (reason) {
    case EPERM:
    case EACCES:
      return {Code::denied, "passthrough needs CAP_SYS_ADMIN", {}};
    case ENOTTY:
    case EINVAL:
    case EOPNOTSUPP:
      return {Code::unsupported, "the kernel has no FUSE passthrough (Linux 6.9 has)", {}};
    case ELOOP:
      return {Code::unsupported,
              "the state directory is on a file system that is stacked on another (overlayfs)", {}};
    default:
      return system_error(reason, "registering a file for passthrough");
  }
}

}  // namespace

Result<BackingFiles> BackingFiles::open(UniqueFd device, const std::string& blobs, uid_t owner) {
  BackingFiles made;
  made.device_ = std::move(device);
  made.owner_ = owner;
  if (blobs.empty()) return made;
  made.blobs_ = UniqueFd(::open(blobs.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made.blobs_) return fail(system_error(errno, fmt::format("opening {}", blobs)));
  return made;
}

Result<UniqueFd> BackingFiles::open_blob(const BlobId& blob) const {
  if (!blobs_) return fail(Code::unsupported, "no directory of blobs was named");
  const std::string path = fmt::format("{}/{}", blob.hex().substr(0, 2), blob.hex());
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;  // what is refused was not opened
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const UniqueFd found(static_cast<int>(::syscall(SYS_openat2, blobs_.get(), path.c_str(), &how, sizeof(how))));
  if (!found && errno == ELOOP) return fail(Code::refused, "a link stands in the place of blob {}", path);
  if (!found) return fail(system_error(errno, fmt::format("looking for blob {}", path)));
  struct stat what{};
  if (::fstat(found.get(), &what) != 0)
    return fail(system_error(errno, fmt::format("looking at blob {}", path)));
  if (!S_ISREG(what.st_mode) || what.st_nlink != 1 || what.st_uid != owner_)
    return fail(Code::refused, "blob {} is not a regular file of user {} with one name", path, owner_);
  // That file, whatever has its name by now. A lease of somebody's must not hold us up.
  UniqueFd file(::open(fmt::format("/proc/self/fd/{}", found.get()).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return fail(system_error(errno, fmt::format("opening blob {}", path)));
  return file;
}

Result<std::int32_t> BackingFiles::add(const BlobId& blob) const {
  auto file = open_blob(blob);
  if (!file) return fail(file);
  BackingMap map{.fd = file->get(), .flags = 0, .padding = 0};
  const int id = ::ioctl(device_.get(), kOpen, &map);
  if (id <= 0) return fail(registration_error(id == 0 ? EINVAL : errno));
  return id;
}

void BackingFiles::remove(std::int32_t id) const {
  auto number = static_cast<std::uint32_t>(id);
  if (::ioctl(device_.get(), kClose, &number) != 0 && errno != ENOTCONN)
    log(Level::warn, "keeper", "{}", system_error(errno, "closing a backing file").message);
}

}  // namespace hffs
