// SPDX-License-Identifier: Apache-2.0
#include "ask.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "commands.h"
#include "hffs/json_text.h"
#include "hffs/keeper.h"
#include "hffs/posix.h"
#include "suggestion.h"

namespace hffs::cli {
namespace {

// A worker that was killed, or hung, has a successor by then.
constexpr std::chrono::seconds kSuccession{6};
constexpr std::chrono::seconds kBetweenWorkers{2};

bool changes_nothing(const nlohmann::json& request) {
  constexpr std::array kQuestions{"status", "activity", "explain", "path", "ls", "names", "files", "ref", "pins", "recorded"};
  return std::ranges::find(kQuestions, request.at("command").get<std::string>()) != kQuestions.end();
}

}  // namespace

Result<std::string> find_socket(const DaemonName& where) {
  if (!where.mount_point.empty()) return load_control_link(where.mount_point);
  auto state_dir = load_state_dir(where.flags, process_environment());
  if (!state_dir) return fail(state_dir);
  std::string own = control_socket(*state_dir);
  if (where.flags.state_dir || ::getenv("HFFS_STATE_DIR") != nullptr || exists(own)) return own;
  // Who has no daemon of his own means the one that is there for everybody.
  std::vector<std::string> shared;
  if (const auto mounts = list_mounts())
    for (const HffsMount& each : *mounts)
      if (each.allow_other) shared.push_back(each.mount_point);
  if (shared.size() == 1)
    if (auto socket = load_control_link(shared.front())) return *socket;
  return own;
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
  const auto began = std::chrono::steady_clock::now();
  auto daemon = ControlClient::connect(*socket);
  // One that ended takes its socket along; one that was killed leaves it to the next.
  while (!daemon && daemon.error().code == Code::unreachable && exists(*socket) &&
         std::chrono::steady_clock::now() < began + kBetweenWorkers) {
    std::this_thread::sleep_for(kPause);
    daemon = ControlClient::connect(*socket);
  }
  if (!daemon) {
    if (daemon.error().code != Code::unreachable) return fail(daemon);
    return fail(Code::unreachable,
                "{}; start one with `hffs mount`, or name its mount point or --state-dir",
                daemon.error().message);
  }
  const std::string words = json_text(request);
  auto answer = daemon->ask(words, limit);
  // The next worker comes, if this was not the end.
  const auto ended = std::chrono::steady_clock::now();
  while (!answer && answer.error().code == Code::unreachable && changes_nothing(request) &&
         std::chrono::steady_clock::now() < ended + kSuccession) {
    std::this_thread::sleep_for(kPause);
    if (auto next = ControlClient::connect(*socket); next) answer = next->ask(words, limit);
  }
  if (!answer && answer.error().code == Code::not_found && request.contains("repo"))
    answer.error().message += suggest_repo(where, request.at("repo").get<std::string>());
  if (!answer) return fail(answer);
  return parse_json(*answer);
}

}  // namespace hffs::cli
