// SPDX-License-Identifier: Apache-2.0
#include "control_address.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

namespace hffs {

Result<ControlAddress> ControlAddress::of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos || slash + 1 == path.size())
    return fail(Code::invalid, "'{}' is not the absolute path of a socket", path);
  const std::string directory = slash == 0 ? "/" : path.substr(0, slash);
  ControlAddress result;
  result.directory_ = UniqueFd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.directory_) return fail(system_error(errno, fmt::format("opening {}", directory)));
  const std::string text =
      fmt::format("/proc/self/fd/{}/{}", result.directory_.get(), path.substr(slash + 1));
  if (text.size() >= sizeof(result.address_.sun_path))
    return fail(Code::invalid, "the name of the socket {} is too long", path);
  result.address_.sun_family = AF_UNIX;
  std::memcpy(result.address_.sun_path, text.c_str(), text.size() + 1);
  return result;
}

}  // namespace hffs
