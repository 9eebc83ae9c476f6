// SPDX-License-Identifier: Apache-2.0
#include "user_view.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace hffs::adopt {
namespace {

constexpr unsigned kLongest = 60;  // seconds

// In the child. Empty: all is there.
std::string look(const std::string& repository, const std::vector<RepoFolder::File>& files) {
  for (const auto& file : files) {
    const std::string path = fmt::format("{}/snapshots/{}/{}", repository, file.commit, file.path);
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0)
      return fmt::format("{}: {}", path, std::strerror(errno));
    if (static_cast<std::uint64_t>(status.st_size) != file.size)
      return fmt::format("{} has {} bytes, and the cache's has {}", path, status.st_size, file.size);
  }
  return {};
}

bool become(uid_t user) {
  if (::geteuid() != 0) return ::geteuid() == user;
  const passwd* entry = ::getpwuid(user);
  const gid_t group = entry != nullptr ? entry->pw_gid : static_cast<gid_t>(user);
  const bool grouped =
      entry != nullptr ? ::initgroups(entry->pw_name, group) == 0 : ::setgroups(0, nullptr) == 0;
  return grouped && ::setresgid(group, group, group) == 0 && ::setresuid(user, user, user) == 0;
}

}  // namespace

Result<void> check_view(uid_t user, const std::string& repository,
                        const std::vector<RepoFolder::File>& files) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error(errno, "making a pipe"));
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting a look at the mount"));
  if (child == 0) {
    ::alarm(kLongest);
    const std::string said = become(user) ? look(repository, files) : "its rights cannot be taken";
    (void)!::write(writing.get(), said.data(), said.size());
    ::_exit(said.empty() ? 0 : 1);
  }
  writing.reset();
  std::string said;
  std::array<char, 1'024> piece;
  for (ssize_t count; (count = ::read(reading.get(), piece.data(), piece.size())) != 0;)
    if (count > 0)
      said.append(piece.data(), static_cast<std::size_t>(count));
    else if (errno != EINTR)
      break;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFSIGNALED(status)) said = "the mount does not answer";
  return fail(Code::refused, "user {} does not see in the mount what the cache has: {}", user, said);
}

}  // namespace hffs::adopt
