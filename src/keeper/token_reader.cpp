// SPDX-License-Identifier: Apache-2.0
#include "token_reader.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <string>
#include <string_view>

namespace hffs::keeper {
namespace {

constexpr unsigned kLifetime = 4;  // seconds; its reader is less patient
constexpr std::size_t kMostToken = 4'096, kMostEnvironment = std::size_t{1} << 20;

// The disk's or the server's fault, and no answer.
bool says_nothing(int reason) {
  return reason == EIO || reason == ESTALE || reason == ETIMEDOUT || reason == EHOSTDOWN || reason == EHOSTUNREACH ||
         reason == ENOMEM || reason == ENFILE || reason == EMFILE || reason == EINTR;
}

std::string read_file(const std::string& path, std::size_t most) {
  // A FIFO or a device in the token's place must not hold it up.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file && says_nothing(errno)) ::_exit(1);
  std::string text;
  std::array<char, 4'096> bytes;
  while (file && text.size() < most) {
    const ssize_t count = ::read(file.get(), bytes.data(), bytes.size());
    if (count < 0 && says_nothing(errno)) ::_exit(1);
    if (count <= 0) break;
    text.append(bytes.data(), static_cast<std::size_t>(count));
  }
  return text;
}

// Only his own processes' can be read: the kernel sees to that.
std::map<std::string, std::string> environment_of(pid_t process) {
  std::map<std::string, std::string> variables;
  if (process <= 0) return variables;
  const std::string text = read_file(fmt::format("/proc/{}/environ", process), kMostEnvironment);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\0', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    // An empty variable says nothing, as for the Hub's own clients.
    if (const std::size_t equals = line.find('='); equals != line.npos && equals + 1 < line.size())
      variables.emplace(line.substr(0, equals), line.substr(equals + 1));
    begin = end + 1;
  }
  return variables;
}

std::string token_of(pid_t process, const std::string& home) {
  const auto variables = environment_of(process);
  const auto variable = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
  const auto path = [&](std::string text) {
    if (text == "~" || text.starts_with("~/")) text.replace(0, 1, home);
    // Where the process stands is no business of ours.
    return text.starts_with('/') ? text : std::string();
  };
  if (auto token = variable("HF_TOKEN"); !token.empty()) return token;
  std::string file = path(variable("HF_TOKEN_PATH"));
  if (file.empty())
    if (const std::string directory = path(variable("HF_HOME")); !directory.empty()) file = directory + "/token";
  if (file.empty())
    if (const std::string directory = path(variable("XDG_CACHE_HOME")); !directory.empty())
      file = directory + "/huggingface/token";
  if (file.empty() && !home.empty()) file = home + "/.cache/huggingface/token";
  return file.empty() ? std::string() : read_file(file, kMostToken);
}

// In the process of its own. Ends it.
[[noreturn]] void look(uid_t user, pid_t process, int out) {
  ::signal(SIGALRM, SIG_DFL);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::alarm(kLifetime);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  passwd entry{};
  passwd* found = nullptr;
  std::string buffer(16'384, '\0');
  const int lookup = ::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found);
  // "There is no such user" has many numbers (getpwnam(3)).
  if (lookup == EIO || lookup == EINTR || lookup == EMFILE || lookup == ENFILE || lookup == ENOMEM) ::_exit(1);
  if (lookup != 0) found = nullptr;
  const gid_t group = found != nullptr ? found->pw_gid : static_cast<gid_t>(user);
  const bool grouped = found != nullptr ? ::initgroups(found->pw_name, group) == 0 : ::setgroups(0, nullptr) == 0;
  if (!grouped || ::setresgid(group, group, group) != 0 || ::setresuid(user, user, user) != 0) ::_exit(1);
  // Nor may he look into what was root's a moment ago.
  ::prctl(PR_SET_DUMPABLE, 0);
  // Descriptors of the keeper are not his.
  if (out != 3 && ::dup3(out, 3, O_CLOEXEC) < 0) ::_exit(1);
  ::close_range(4, ~0u, 0);
  (void)!::chdir("/");
  const std::string token = '+' + token_of(process, found != nullptr ? found->pw_dir : "");
  (void)!::write(3, token.data(), std::min(token.size(), kMostToken + 1));
  ::_exit(0);
}

}  // namespace

Result<UniqueFd> read_token(uid_t user, pid_t process) {
  if (::geteuid() != 0)
    return fail(Code::unsupported, "only root can look for another user's token; `hffs login` gives it");
  if (user == 0 || user == static_cast<uid_t>(-1)) return fail(Code::refused, "root's token is not looked for");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail(system_error(errno, "making a pipe"));
  UniqueFd in(ends[0]), out(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting a process"));
  if (child == 0) look(user, process, out.get());
  return in;
}

}  // namespace hffs::keeper
