// SPDX-License-Identifier: Apache-2.0
#include "ask.h"

#include "commands.h"
#include "suggestion.h"

namespace hffs::cli {

Result<std::string> find_socket(const DaemonName& where) {
  if (!where.mount_point.empty()) return load_control_link(where.mount_point);
  auto state_dir = load_state_dir(where.flags, process_environment());
  if (!state_dir) return fail(state_dir);
  return control_socket(*state_dir);
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
