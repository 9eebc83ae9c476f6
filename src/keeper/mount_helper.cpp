// SPDX-License-Identifier: Apache-2.0
#include "mount_helper.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace hffs {
namespace {

constexpr std::string_view kProgram = "fusermount3";
constexpr std::string_view kDescriptorVariable = "_FUSE_COMMFD";
// The number that the program's end of the socket gets.
constexpr int kTheirSocket = 3;

struct Finished {
  int status = 0;
  std::string complaints;  // what it wrote on standard error, on one line
};

std::string read_all(int fd) {
  std::string text;
  std::array<char, 1024> piece;
  while (true) {
    const ssize_t count = ::read(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

// posix_spawn and not fork: other threads of the daemon may be running.
class Spawn {
 public:
  Spawn() {
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, pipe;
    ::sigemptyset(&none);
    ::sigemptyset(&pipe);
    ::sigaddset(&pipe, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &pipe);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
  ~Spawn() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  // Gives the child `fd` as `number`.
  void pass(int fd, int number) { ::posix_spawn_file_actions_adddup2(&files_, fd, number); }

  Result<pid_t> start(std::vector<std::string> arguments, std::vector<std::string> more) {
    std::vector<char*> argv, env;
    for (auto& argument : arguments) argv.push_back(argument.data());
    for (auto& variable : more) env.push_back(variable.data());
    for (char** variable = environ; *variable != nullptr; ++variable)
      if (!std::string_view(*variable).starts_with(kDescriptorVariable)) env.push_back(*variable);
    argv.push_back(nullptr);
    env.push_back(nullptr);
    pid_t child = -1;
    const int error =
        ::posix_spawnp(&child, argv[0], &files_, &attributes_, argv.data(), env.data());
    if (error == ENOENT)
      return fail(Code::unsupported,
                  "mounting without root needs the program {}, which is not there; install the "
                  "package fuse3",
                  kProgram);
    if (error != 0) return fail(system_error(error, fmt::format("starting {}", kProgram)));
    return child;
  }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

Result<Finished> run(std::vector<std::string> arguments, int their_socket) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error(errno, "making a pipe"));
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  Spawn spawn;
  std::vector<std::string> variables;
  // First: the pipe may stand at the number that the socket gets.
  spawn.pass(writing.get(), STDERR_FILENO);
  if (their_socket >= 0) {
    spawn.pass(their_socket, kTheirSocket);
    variables.push_back(fmt::format("{}={}", kDescriptorVariable, kTheirSocket));
  }
  auto child = spawn.start(std::move(arguments), std::move(variables));
  if (!child) return fail(child);
  writing.reset();
  Finished finished;
  finished.complaints = read_all(reading.get());
  while (::waitpid(*child, &finished.status, 0) < 0)
    if (errno != EINTR) return fail(system_error(errno, fmt::format("waiting for {}", kProgram)));
  return finished;
}

Error explain(const Finished& finished, std::string_view doing) {
  const std::string_view text = finished.complaints;
  const std::string said = text.empty() ? fmt::format("{} failed", kProgram) : std::string(text);
  const auto has = [&](std::string_view part) { return text.find(part) != text.npos; };
  if (has("user_allow_other"))
    return {Code::denied,
            "allow_other was refused; let root add the line user_allow_other to /etc/fuse.conf, or "
            "mount without --allow-other",
            {}};
  if (has("not found, try 'modprobe fuse'") || has("device not found"))
    return {
        Code::unsupported, fmt::format("{}: {}; load the module (modprobe fuse)", doing, said), {}};
  if (has("busy")) return {Code::busy, fmt::format("{}: {}", doing, said), {}};
  if (has("ermission denied") || has("not permitted") || has("user has no write access"))
    return {Code::denied,
            fmt::format("{}: {}; mount on a directory of your own, or let root mount", doing, said),
            {}};
  return {Code::io, fmt::format("{}: {}", doing, said), {}};
}

Result<UniqueFd> receive(int socket) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) > 0) {
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
      return UniqueFd(fd);
    }
  }
  return fail(Code::io, "{} sent no descriptor", kProgram);
}

}  // namespace

Result<UniqueFd> fusermount(const std::string& mount_point, const std::string& options) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail(system_error(errno, "making a socket pair"));
  const UniqueFd ours(ends[0]), theirs(ends[1]);
  auto finished = run({std::string(kProgram), "-o", options, "--", mount_point}, theirs.get());
  if (!finished) return fail(finished);
  if (finished->status != 0)
    return fail(explain(*finished, fmt::format("mounting {}", mount_point)));
  return receive(ours.get());
}

Result<void> fusermount_unmount(const std::string& mount_point, bool lazy) {
  std::vector<std::string> arguments{std::string(kProgram), "-u"};
  if (lazy) arguments.emplace_back("-z");
  arguments.emplace_back("--");
  arguments.push_back(mount_point);
  auto finished = run(std::move(arguments), -1);
  if (!finished) return fail(finished);
  if (finished->status != 0)
    return fail(explain(*finished, fmt::format("unmounting {}", mount_point)));
  return {};
}

}  // namespace hffs
