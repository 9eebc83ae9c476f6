// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "doctor.h"
#include "hffs/posix.h"

namespace hffs::cli {
namespace {

struct Release {
  int major = 0, minor = 0;
  auto operator<=>(const Release&) const = default;
};
// What the tests of old kernels go back to; and the first with FUSE passthrough.
constexpr Release kOldest{5, 15}, kPassthrough{6, 9};

constexpr const char* kDevice = "/dev/fuse";

bool knows_fuse() {
  std::ifstream file("/proc/filesystems");
  for (std::string line; std::getline(file, line);)
    if (line == "nodev\tfuse") return true;
  return false;
}

// CAP_SYS_ADMIN, without which the kernel lets nobody register files.
bool is_privileged() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("CapEff:")) return (std::strtoull(line.c_str() + 7, nullptr, 16) >> 21 & 1) != 0;
  return false;
}

Check check_kernel() {
  utsname name{};
  ::uname(&name);
  Release release;
  (void)std::sscanf(name.release, "%d.%d", &release.major, &release.minor);
  std::string says = fmt::format("Linux {}", name.release);
  if (!knows_fuse())
    return bad("kernel", Code::unsupported, says + " has no FUSE", {.run = as_root("modprobe fuse"), .who = {}});
  if (release < kOldest)
    return doubtful("kernel", says + " is older than what hffs is tested with",
                    {.run = {}, .who = "root installs Linux 5.15 or later"});
  if (release < kPassthrough)
    says += "; large files go through the page cache (passthrough since 6.9)";
  else
    says += is_privileged() ? "; a mount from here may let it read large files by itself (passthrough)"
                            : "; passthrough is for mounts of root, the page cache for all others";
  return good("kernel", says);
}

Check check_device() {
  constexpr const char* kMake = "modprobe -q fuse; test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229";
  if (!exists(kDevice))
    return bad("/dev/fuse", Code::unsupported, "it is not there; a container must be given it (--device /dev/fuse)",
               {.run = as_root(kMake), .who = {}});
  const UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (device) return good("/dev/fuse", "it can be opened");
  if (errno == EACCES || errno == EPERM)
    return bad("/dev/fuse", Code::denied, fmt::format("it may not be opened: {}", std::strerror(errno)),
               {.run = as_root("chmod 666 /dev/fuse"), .who = {}});
  return bad("/dev/fuse", Code::unsupported, fmt::format("it cannot be opened: {}", std::strerror(errno)),
             {.run = as_root("modprobe fuse"), .who = {}});
}

std::string find_program(const std::string& name, const Environment& environment) {
  std::istringstream path(environment("PATH").value_or("/usr/bin:/bin"));
  for (std::string directory; std::getline(path, directory, ':');) {
    const std::string file = (directory.empty() ? "." : directory) + "/" + name;
    if (struct stat found{}; ::stat(file.c_str(), &found) == 0 && S_ISREG(found.st_mode) && ::access(file.c_str(), X_OK) == 0)
      return file;
  }
  return {};
}

Check check_helper(const Environment& environment) {
  const std::string file = find_program("fusermount3", environment);
  if (file.empty())
    return bad("fusermount3", Code::unsupported, "it is not there, and who is not root mounts by it",
               {.run = {}, .who = "root installs the package fuse3 (apt install fuse3, dnf install fuse3)"});
  struct stat found{};
  if (::stat(file.c_str(), &found) == 0 && (found.st_uid != 0 || (found.st_mode & S_ISUID) == 0))
    return bad("fusermount3", Code::denied, fmt::format("{} has not the rights of root, by which it mounts", file),
               {.run = as_root(fmt::format("chown root {0} && chmod u+s {0}", file)), .who = {}});
  return good("fusermount3", file);
}

Check check_allow_other() {
  std::ifstream file("/etc/fuse.conf");
  for (std::string line; std::getline(file, line);)
    if (line == "user_allow_other") return good("fuse.conf", "users may let others in");
  return bad("fuse.conf", Code::denied, "--allow-other of users is not permitted here",
             {.run = as_root("echo user_allow_other >>/etc/fuse.conf"), .who = {}});
}

}  // namespace

// A mount that answers was made by whoever could; what we could not make does not matter then.
Checks check_machine(const Patient& patient) {
  Checks checks{check_kernel()};
  if (patient.status) return checks;
  checks.push_back(check_device());
  if (::geteuid() == 0) return checks;
  checks.push_back(check_helper(patient.environment));
  if (patient.config && patient.config->allow_other) checks.push_back(check_allow_other());
  return checks;
}

}  // namespace hffs::cli
