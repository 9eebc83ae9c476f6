// SPDX-License-Identifier: Apache-2.0
#include "mount_owner.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "mount_helper.h"
#include "mount_point.h"
#include "mountinfo.h"

namespace hffs {
namespace {

constexpr const char* kDevice = "/dev/fuse";

Result<UniqueFd> open_device() {
  UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (device) return device;
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return fail(Code::unsupported,
                  "there is no {}; load the module (modprobe fuse), or start the container with "
                  "--device {}",
                  kDevice, kDevice);
    case EACCES:
    case EPERM:
      return fail(Code::denied,
                  "{} may not be opened; give this user read and write access to it, or allow the "
                  "device in the container",
                  kDevice);
    default:
      return fail(system_error(errno, fmt::format("opening {}", kDevice)));
  }
}

// No default_permissions: modes are for show, the daemon decides who may what.
Result<UniqueFd> mount_directly(const MountOptions& options, const std::string& mount_point) {
  auto device = open_device();
  if (!device) return fail(device);
  const std::string data =
      fmt::format("fd={},rootmode=40000,user_id={},group_id={}{}", device->get(), ::geteuid(),
                  ::getegid(), options.allow_other ? ",allow_other" : "");
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV;
  const auto try_mount = [&](const char* type, const std::string& its_data) {
    return ::mount(options.source.c_str(), mount_point.c_str(), type, kFlags, its_data.c_str()) ==
           0;
  };
  const std::string type(kFileSystemType);
  if (try_mount(type.c_str(), data)) return device;
  if ((errno == ENODEV || errno == EINVAL) && try_mount("fuse", data + ",subtype=hffs"))
    return device;
  const int reason = errno;
  if (reason == ENODEV)
    return fail(Code::unsupported, "the kernel has no FUSE; load the module (modprobe fuse)");
  return fail(system_error(reason, fmt::format("mounting {}", mount_point)));
}

// fusermount3 splits its options at commas, and takes a backslash away.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == ',' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

Result<UniqueFd> mount_by_helper(const MountOptions& options, const std::string& mount_point) {
  // The helper opens the device with our rights; its words for a failure depend on its version.
  if (auto device = open_device(); !device) return fail(device);
  return fusermount(mount_point,
                    fmt::format("fsname={},subtype=hffs,nosuid,nodev{}", escaped(options.source),
                                options.allow_other ? ",allow_other" : ""));
}

// The device number tells our mount from one that somebody else put there since.
Result<bool> is_ours(const std::string& mount_point, const std::string& device) {
  const auto mounts = load_mounts();
  if (!mounts) return fail(Error(mounts.error()));
  const MountEntry* top = find_top_mount(*mounts, mount_point);
  return top != nullptr && top->device == device;
}

}  // namespace

Result<UniqueFd> MountOwner::mount(const MountOptions& options) {
  auto mount_point = prepare_mount_point(options.mount_point);
  if (!mount_point) return fail(mount_point);
  auto device = may_mount() ? mount_directly(options, *mount_point)
                                    : mount_by_helper(options, *mount_point);
  // In a container root may lack the right in spite of the capability.
  if (!device && device.error().code == Code::denied && may_mount()) {
    auto second = mount_by_helper(options, *mount_point);
    if (second) device = std::move(second);
  }
  if (!device) return fail(device);
  const auto mounts = load_mounts();
  const MountEntry* top = mounts ? find_top_mount(*mounts, *mount_point) : nullptr;
  UniqueFd copy(::fcntl(device->get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail(system_error(errno, "copying the descriptor of the mount"));
  auto backing = BackingFiles::open(std::move(copy), options.blobs, options.owner);
  if (!backing) return fail(backing);
  backing_ = std::move(*backing);
  mount_point_ = std::move(*mount_point);
  device_number_ = top != nullptr ? top->device : "";
  return device;
}

Result<void> MountOwner::may_back() {
  if (may_mount()) return {};
  return fail(Code::denied, "passthrough needs CAP_SYS_ADMIN; a daemon that root starts has it");
}

Result<std::int32_t> MountOwner::open_backing(const BlobId& blob) {
  if (!backing_) return fail(Code::not_found, "nothing is mounted");
  return backing_->add(blob);
}

void MountOwner::close_backing(std::int32_t id) {
  if (backing_) backing_->remove(id);
}

// The connection ends with the last descriptor of it.
Result<void> MountOwner::unmount() {
  backing_.reset();
  const std::string mount_point = std::exchange(mount_point_, {});
  if (mount_point.empty()) return {};
  auto ours = is_ours(mount_point, device_number_);
  if (!ours) return fail(ours);
  return *ours ? detach(mount_point, true) : Result<void>{};
}

// Source: Linux Documentation/filesystems/fuse.rst: a connection is named by the minor number of its device, where
// fusectl is mounted; fs/fuse/inode.c, fuse_umount_begin(): a forced unmount ends it first, whoever has files open.
void MountOwner::abort() {
  const std::size_t colon = device_number_.find(':');
  if (colon == std::string::npos) return;
  std::ofstream abort(fmt::format("/sys/fs/fuse/connections/{}/abort", device_number_.substr(colon + 1)));
  if (abort << "1" << std::flush || mount_point_.empty() || !is_ours(mount_point_, device_number_).value_or(false)) return;
  ::umount2(mount_point_.c_str(), MNT_FORCE | UMOUNT_NOFOLLOW);
}

Result<void> unmount(const std::string& mount_point, bool lazy) {
  auto real = load_real_path(mount_point);
  if (!real) return fail(std::move(real.error()).during("nothing can be unmounted"));
  const auto mounts = load_mounts();
  if (!mounts) return fail(Error(mounts.error()));
  const MountEntry* top = find_top_mount(*mounts, *real);
  if (top == nullptr)
    return fail(Code::not_found, "no hffs is mounted at {}; `findmnt -t {}` lists those that are",
                *real, kFileSystemType);
  if (top->type != kFileSystemType)
    return fail(Code::not_found, "what is mounted at {} is {}, not hffs; use umount for it", *real,
                top->type);
  auto gone = detach(*real, lazy);
  if (!gone && gone.error().code == Code::busy)
    return fail(
        Code::busy,
        "files below {} are in use (`fuser -vm {}` says by whom); close them, or use --lazy", *real,
        *real);
  return gone;
}

}  // namespace hffs
