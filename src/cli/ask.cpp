// SPDX-License-Identifier: Apache-2.0
#include "ask.h"

#include <filesystem>

#include "commands.h"
#include "suggestion.h"

namespace hffs::cli {

Result<std::string> find_socket(const DaemonName& where) {
  if (!where.mount_point.empty()) return load_control_link(where.mount_point);
  auto state_dir = load_state_dir(where.flags, process_environment());
  if (!state_dir) return fail(state_dir);
  return control_socket(*state_dir);
}

std::string absolute_mount(const std::string& mount_point) {
  std::error_code error;
  std::string mount = std::filesystem::absolute(mount_point, error).lexically_normal();
  if (error) mount = mount_point;
  while (mount.size() > 1 && mount.ends_with('/')) mount.pop_back();
  return mount;
}

Result<std::string> find_mount(const DaemonName& where) {
  if (where.mount_point.empty()) {
    const auto status = ask(where, {{"command", "status"}});
    if (!status) return fail(Error(status.error()));
    return status->at("mount_point").get<std::string>();
  }
  // The socket may be out of reach, in a container for one; that there is one is enough.
  if (auto mounted = load_control_link(where.mount_point); !mounted) return fail(mounted);
  return absolute_mount(where.mount_point);
}

Result<nlohmann::json> ask(const DaemonName& where, const nlohmann::json& request,
                           std::chrono::milliseconds limit) {
  auto socket = find_socket(where);
  if (!socket) return fail(socket);
  auto daemon = ControlClient::connect(*socket);
  if (!daemon) {
    if (daemon.error().code != Code::unreachable) return fail(daemon);
    return fail(Code::unreachable,
                "{}; start one with `hffs mount`, or name its mount point or --state-dir",
                daemon.error().message);
  }
  auto answer = daemon->ask(request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), limit);
  if (!answer && answer.error().code == Code::not_found && request.contains("repo"))
    answer.error().message += suggest_repo(where, request.at("repo").get<std::string>());
  if (!answer) return fail(answer);
  return nlohmann::json::parse(*answer);
}

}  // namespace hffs::cli
