// SPDX-License-Identifier: Apache-2.0
//
// What a process can do no more once it is in the sandbox. Each look is by a child, which cannot leave it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "hffs/posix.h"
#include "sandbox.h"

namespace hffs {
namespace {

class SandboxTest : public testing::Test {
 protected:
  SandboxTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hffs-box-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    for (const char* each : {"in", "in/one", "in/two", "out", "lent"}) std::filesystem::create_directory(folder_ + "/" + each);
    for (const char* each : {"/out/there", "/lent/there"}) std::ofstream(folder_ + each) << "text";
    std::ofstream(folder_ + "/log") << "";
  }
  ~SandboxTest() override { std::filesystem::remove_all(folder_); }

  // The errno of what is done inside; 0 if it is done.
  int inside(const std::function<bool()>& action) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto lacks = enter_sandbox({.user = {::geteuid(), ::getegid()}, .writable = {folder_ + "/in", folder_ + "/log", folder_ + "/missing"},
                                         .readable = {folder_ + "/lent", folder_ + "/missing"}});
      if (!lacks) ::_exit(250);
      if (!lacks->empty()) ::_exit(251);
      errno = 0;
      ::_exit(action() ? 0 : errno);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
    EXPECT_NE(WEXITSTATUS(status), 250) << "it does not get in";
    return WEXITSTATUS(status);
  }
  bool can_open(const std::string& path, int flags) {
    return static_cast<bool>(UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0600)));
  }

  std::string folder_;
};

#define SKIP_WHERE_THE_KERNEL_LACKS_IT() \
  if (inside([] { return true; }) == 251) GTEST_SKIP() << "this kernel has no Landlock or seccomp"

TEST_F(SandboxTest, ItWritesInItsOwnPlaceAlone) {
  SKIP_WHERE_THE_KERNEL_LACKS_IT();
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/in/one/new", O_WRONLY | O_CREAT | O_TRUNC); }), 0);
  EXPECT_EQ(inside([&] { return std::rename((folder_ + "/in/one/new").c_str(), (folder_ + "/in/two/new").c_str()) == 0; }), 0);
  EXPECT_EQ(inside([&] { return ::ftruncate(UniqueFd(::open((folder_ + "/in/two/new").c_str(), O_WRONLY)).get(), 5) == 0; }), 0);
  EXPECT_EQ(inside([&] { return ::unlink((folder_ + "/in/two/new").c_str()) == 0; }), 0);
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/log", O_WRONLY | O_APPEND); }), 0);
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/out/there", O_WRONLY); }), EACCES);
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/lent/there", O_WRONLY); }), EACCES);
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/out/there", O_RDONLY | O_TRUNC); }), EACCES);
  EXPECT_EQ(inside([&] { return can_open(folder_ + "/out/new", O_WRONLY | O_CREAT); }), EACCES);
  EXPECT_EQ(inside([&] { return ::truncate((folder_ + "/out/there").c_str(), 0) == 0; }), EPERM);
  EXPECT_EQ(inside([&] { return ::unlink((folder_ + "/out/there").c_str()) == 0; }), EACCES);
  EXPECT_EQ(inside([&] { return ::mkdir((folder_ + "/out/d").c_str(), 0700) == 0; }), EACCES);
  EXPECT_EQ(inside([&] { return ::symlink("x", (folder_ + "/out/l").c_str()) == 0; }), EACCES);
  EXPECT_NE(inside([&] { return ::link((folder_ + "/out/there").c_str(), (folder_ + "/in/l").c_str()) == 0; }), 0);
  EXPECT_NE(inside([&] { return std::rename((folder_ + "/out/there").c_str(), (folder_ + "/in/there").c_str()) == 0; }), 0);
  EXPECT_EQ(inside([&] { return ::mknod((folder_ + "/in/null").c_str(), S_IFCHR | 0600, 0x103) == 0; }), EACCES);
}

TEST_F(SandboxTest, ItReadsWhatIsListed) {
  SKIP_WHERE_THE_KERNEL_LACKS_IT();
  for (const std::string& path : {folder_ + "/in", folder_ + "/log", folder_ + "/lent/there", folder_ + "/lent",
                                  std::string("/etc/passwd"), std::string("/proc/self/status"), std::string("/dev/urandom")})
    EXPECT_EQ(inside([&] { return can_open(path, O_RDONLY); }), 0) << path;
  for (const std::string& path : {folder_ + "/out/there", folder_ + "/out", folder_, std::string("/")})
    EXPECT_EQ(inside([&] { return can_open(path, O_RDONLY); }), EACCES) << path;
  const auto is_shut_out = [&](const std::string& path) {
    constexpr int kNo = 99;
    const int found = inside([&] {
      const bool out = shut_out(path);
      errno = kNo;
      return out;
    });
    EXPECT_TRUE(found == 0 || found == kNo) << found;
    return found == 0;
  };
  EXPECT_TRUE(is_shut_out(folder_ + "/out"));
  EXPECT_FALSE(is_shut_out(folder_ + "/lent"));
  EXPECT_FALSE(is_shut_out(folder_ + "/missing"));
}

TEST_F(SandboxTest, ItHasNoRights) {
  SKIP_WHERE_THE_KERNEL_LACKS_IT();
  const auto capabilities = [](auto member) {
    return [member] {
      __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
      __user_cap_data_struct sets[2] = {};
      if (::syscall(SYS_capget, &header, sets) != 0) return false;
      errno = static_cast<int>((sets[0].*member) != 0 || (sets[1].*member) != 0);
      return errno == 0;
    };
  };
  EXPECT_EQ(inside(capabilities(&__user_cap_data_struct::effective)), 0);
  EXPECT_EQ(inside(capabilities(&__user_cap_data_struct::permitted)), 0);
  EXPECT_EQ(inside(capabilities(&__user_cap_data_struct::inheritable)), 0);
  EXPECT_EQ(inside([] { return ::syscall(SYS_setresuid, 12'345, 12'345, 12'345) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::chown("/proc/self/exe", 1, 1) == 0; }) == 0, false);
}

TEST_F(SandboxTest, ItRefusesWhatAServerOfFilesNeverAsksFor) {
  SKIP_WHERE_THE_KERNEL_LACKS_IT();
  char name[] = "/bin/true";
  char* words[] = {name, nullptr};
  EXPECT_EQ(inside([&] { return ::execv(name, words) == 0; }), EPERM);
  EXPECT_EQ(inside([&] { return ::mount("none", folder_.c_str(), "tmpfs", 0, nullptr) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::unshare(CLONE_NEWUSER) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::ptrace(PTRACE_TRACEME, 0, 0, 0) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::syscall(SYS_bpf, 0, nullptr, 0) >= 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::setsid() > 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::setpgid(0, 0) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::kill(::getppid(), 0) == 0; }), 0) << "who waits may be looked for";
  EXPECT_EQ(inside([] { return ::kill(::getppid(), SIGURG) == 0; }), EPERM);
  EXPECT_EQ(inside([] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0) == 0; }), EPERM);
  EXPECT_EQ(inside([&] { return ::chown((folder_ + "/in").c_str(), ::getuid(), ::getgid()) == 0; }), EPERM);
}

TEST_F(SandboxTest, WhatAServerNeedsIsThere) {
  SKIP_WHERE_THE_KERNEL_LACKS_IT();
  EXPECT_EQ(inside([] { return ::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0) == 0; }), 0);
  EXPECT_EQ(inside([] {
              bool ran = false;
              std::thread([&] { ran = true; }).join();
              return ran;
            }),
            0);
  EXPECT_EQ(inside([&] {  // threads that begin later are in it, too
              int found = 0;
              std::thread([&] { found = can_open(folder_ + "/out/new", O_WRONLY | O_CREAT) ? 0 : errno; }).join();
              errno = found;
              return found == 0;
            }),
            EACCES);
}

}  // namespace
}  // namespace hffs
