// SPDX-License-Identifier: Apache-2.0
#include "sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>

#include "hffs/posix.h"

namespace hffs {
namespace {

// --- capabilities --------------------------------------------------------------------------------

Result<void> drop_bounding_set() {
  for (unsigned each = 0; ::prctl(PR_CAPBSET_READ, each) >= 0; ++each)
    // Without the right to drop there is none to be had either.
    if (::prctl(PR_CAPBSET_DROP, each) != 0 && errno != EPERM)
      return fail(system_error(errno, "dropping a capability"));
  return {};
}

Result<void> drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const std::array<__user_cap_data_struct, 2> sets{};
  if (::syscall(SYS_capset, &header, sets.data()) != 0)
    return fail(system_error(errno, "dropping capabilities"));
  return {};
}

// --- files ---------------------------------------------------------------------------------------

// Newer than some headers: Landlock's second, third and fifth version.
constexpr std::uint64_t kRefer = 1u << 13, kTruncate = 1u << 14, kDeviceControl = 1u << 15;
constexpr std::uint64_t kOfFiles =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kDeviceControl;
constexpr std::uint64_t kOfDirectories =
    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | kRefer;
constexpr std::uint64_t kNeverAllowed = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                        LANDLOCK_ACCESS_FS_MAKE_BLOCK | kDeviceControl;

constexpr std::uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

// Where the resolver, OpenSSL, the C library and its modules look things up, each time anew, and where the kernel tells of
// processes. Whole directories: what is in them is written anew and renamed, and a rule is about one file for ever.
constexpr const char* kSystem[] = {
    "/etc", "/usr", "/lib", "/lib64", "/proc", "/sys", "/nix/store", "/gnu/store", "/dev/null", "/dev/urandom", "/dev/random",
    "/run/systemd", "/run/NetworkManager", "/run/resolvconf", "/run/connman", "/run/nscd", "/var/cache/nscd", "/var/lib/sss",
    "/var/lib/extrausers", "/var/lib/ca-certificates"};
constexpr std::chrono::milliseconds kMoment{1'000};

std::uint64_t known_to(long version) {
  std::uint64_t known = kOfFiles | kOfDirectories;
  if (version < 2) known &= ~kRefer;
  if (version < 3) known &= ~kTruncate;
  if (version < 5) known &= ~kDeviceControl;
  return known;
}

// A file system that hangs holds up nobody: another process asks it first. None: it did not answer, or there is no such thing.
UniqueFd open_in_time(const std::string& path) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return {};
  UniqueFd in(ends[0]), out(ends[1]);
  // Without the second flag an automount would not be begun.
  const auto open = [&] {
    const int directory = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    return directory >= 0 || errno != ENOTDIR ? directory : ::open(path.c_str(), O_PATH | O_CLOEXEC);
  };
  const pid_t child = ::fork();
  if (child == 0) {
    // One that hangs for ever holds nothing of ours, and nobody waits for it with the others of this process.
    ::setpgid(0, 0);
    ::dup2(out.get(), 0);
    ::close_range(1, ~0u, 0);
    if (open() >= 0) (void)!::write(0, "", 1);
    ::_exit(0);
  }
  if (child < 0) return {};
  out.reset();
  pollfd answer{in.get(), POLLIN, 0};
  char answered = 0;
  const bool there = ::poll(&answer, 1, static_cast<int>(kMoment.count())) > 0 && ::read(in.get(), &answered, 1) == 1;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, answer.revents != 0 ? 0 : WNOHANG);
  return there ? UniqueFd(open()) : UniqueFd();
}

Result<void> allow(int rules, const std::string& path, std::uint64_t allowed, UniqueFd place) {
  struct stat found {};
  if (::fstat(place.get(), &found) != 0) return fail(system_error(errno, path));
  const std::uint64_t kind = S_ISDIR(found.st_mode) ? kOfFiles | kOfDirectories : kOfFiles;
  const landlock_path_beneath_attr rule{.allowed_access = allowed & kind & ~kNeverAllowed, .parent_fd = place.get()};
  if (::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    return fail(system_error(errno, path));
  return {};
}

// Nothing: this kernel cannot.
Result<UniqueFd> make_rules(const Sandbox& sandbox) {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  // Before the second version no file may be moved between directories, which a store does.
  if (version < 2) return UniqueFd();
  const landlock_ruleset_attr handled{.handled_access_fs = known_to(version)};
  UniqueFd rules(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled.handled_access_fs), 0)));
  if (!rules) return fail(system_error(errno, "making Landlock's rules"));
  for (const std::string& path : sandbox.writable) {
    UniqueFd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!place && errno == ENOENT) continue;
    if (!place) return fail(system_error(errno, path));
    if (auto added = allow(rules.get(), path, handled.handled_access_fs, std::move(place)); !added) return fail(added);
  }
  std::vector<std::string> read(std::begin(kSystem), std::end(kSystem));
  read.insert(read.end(), sandbox.local.begin(), sandbox.local.end());
  for (const std::string& path : read)
    if (UniqueFd place(::open(path.c_str(), O_PATH | O_CLOEXEC)); place)
      if (auto added = allow(rules.get(), path, kReading, std::move(place)); !added) return fail(added);
  return rules;
}

// By the user's rights: root's may be less, on a server that takes root for nobody.
Result<void> add_readable(int rules, const Sandbox& sandbox) {
  for (const std::string& path : sandbox.readable)
    if (UniqueFd place = open_in_time(path); place)
      if (auto added = allow(rules, path, kReading, std::move(place)); !added) return added;
  return {};
}

// --- system calls --------------------------------------------------------------------------------

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;
#endif

constexpr long kRefused[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_mount,
    SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_setns, SYS_unshare, SYS_fsopen, SYS_fsmount,
    SYS_move_mount, SYS_open_tree, SYS_mount_setattr, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_bpf, SYS_perf_event_open,
    SYS_userfaultfd, SYS_io_uring_setup, SYS_open_by_handle_at, SYS_name_to_handle_at,
    SYS_add_key, SYS_request_key, SYS_keyctl, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct,
    SYS_quotactl, SYS_personality, SYS_fchown, SYS_fchownat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal, SYS_pidfd_getfd, SYS_truncate,  // Landlock before 6.2 lets files be cut anywhere
    SYS_setpgid, SYS_setsid,  // who leaves the group would not end with it
#if defined(__x86_64__)
    SYS_chown, SYS_lchown,
#endif
};
constexpr std::uint32_t kNewNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                         CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

Result<bool> refuse_calls() {
  if (kArchitecture == 0) return false;
  constexpr std::uint32_t kNo = SECCOMP_RET_ERRNO | EPERM;
  const auto load = [](std::size_t offset) {
    return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
  };
  const auto give = [](std::uint32_t verdict) { return sock_filter BPF_STMT(BPF_RET | BPF_K, verdict); };
  // Goes on with the next one if equal, and over it if not.
  const auto only_if = [](std::uint32_t value) {
    return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
  };
  std::vector<sock_filter> program;
  // Another architecture's numbers mean other calls.
  program.push_back(load(offsetof(seccomp_data, arch)));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0));
  program.push_back(give(SECCOMP_RET_KILL_PROCESS));
  program.push_back(load(offsetof(seccomp_data, nr)));
#if defined(__x86_64__)
  constexpr std::uint32_t kX32 = 0x40000000;
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1));
  program.push_back(give(kNo));
#endif
  for (const long call : kRefused) {
    program.push_back(only_if(static_cast<std::uint32_t>(call)));
    program.push_back(give(kNo));
  }
  // Whether somebody is there may be asked; signals are for its own threads.
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 0, 4));
  program.push_back(load(offsetof(seccomp_data, args[1])));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0));
  program.push_back(give(kNo));
  program.push_back(load(offsetof(seccomp_data, nr)));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 4));
  program.push_back(load(offsetof(seccomp_data, args[0])));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(::getpid()), 1, 0));
  program.push_back(give(kNo));
  program.push_back(load(offsetof(seccomp_data, nr)));
  // Its flags are out of sight; the C library goes back to clone().
  program.push_back(only_if(SYS_clone3));
  program.push_back(give(SECCOMP_RET_ERRNO | ENOSYS));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
  program.push_back(load(offsetof(seccomp_data, args[0])));
  program.push_back(sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kNewNamespaces, 0, 1));
  program.push_back(give(kNo));
  program.push_back(give(SECCOMP_RET_ALLOW));
  const sock_fprog filter{.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    if (errno == ENOSYS || errno == EINVAL || errno == EPERM) return false;  // EPERM: a container's own filter
    return fail(system_error(errno, "refusing system calls"));
  }
  return true;
}

}  // namespace

Result<std::string> enter_sandbox(const Sandbox& sandbox) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return fail(system_error(errno, "giving up new privileges"));
  std::string missing;
  // With the rights that are still there: a log may lie where the user does not get.
  auto rules = make_rules(sandbox);
  if (!rules) return fail(rules);
  if (auto dropped = drop_bounding_set(); !dropped) return fail(dropped);
  if (auto became = sandbox.user.become(); !became) return fail(became);
  if (*rules)
    if (auto added = add_readable(rules->get(), sandbox); !added) return fail(added);
  if (auto dropped = drop_capabilities(); !dropped) return fail(dropped);
  if (!*rules)
    missing = "Landlock (Linux 5.19 has it, where it is not switched off)";
  else if (::syscall(SYS_landlock_restrict_self, rules->get(), 0) != 0)
    return fail(system_error(errno, "entering Landlock's rules"));
  auto refused = refuse_calls();
  if (!refused) return fail(refused);
  if (!*refused) missing += missing.empty() ? "seccomp" : ", seccomp";
  return missing;
}

// The rules hold for open(2) alone: the rest of the kernel answers by the user's rights.
bool shut_out(const std::string& path) {
  if (UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) || errno != EACCES) return false;
  return ::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) == 0;
}

}  // namespace hffs
