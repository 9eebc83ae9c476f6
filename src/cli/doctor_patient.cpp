// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <fstream>

#include "doctor.h"
#include "hffs/json_text.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

constexpr std::chrono::seconds kLookLimit{3};

// A variable as it is, but a token that is certainly there: then no file is looked for.
Environment with_some_token(const Environment& environment) {
  return [environment](std::string_view name) {
    return name == "HF_TOKEN" ? std::optional<std::string>("none") : environment(name);
  };
}

void read_settings(Patient& patient) {
  auto config = load_config(patient.flags, patient.environment);
  if (config) {
    patient.config = std::move(*config);
    return;
  }
  auto other = load_config(patient.flags, with_some_token(patient.environment));
  if (!other) {
    patient.config_error = std::move(config.error());
    return;
  }
  patient.token_error = std::move(config.error());
  patient.config = std::move(*other);
  patient.config->token = Secret();
}

struct Link {
  std::string target;
  int error = 0;
};

Link read_control_link(const std::string& mount_point) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlink((mount_point + "/.hffs").c_str(), target.data(), target.size());
  if (size < 0) return {.target = {}, .error = errno};
  return {.target = std::string(target.data(), static_cast<std::size_t>(size)), .error = 0};
}

Result<nlohmann::json> ask_socket(const std::string& socket) {
  auto daemon = ControlClient::connect(socket);
  if (!daemon) return fail(daemon);
  auto answer = daemon->ask(R"({"command":"status"})", kLookLimit);
  if (!answer) return fail(answer);
  return parse_json(*answer);
}

// A daemon that is stopped may not even take the connection.
Result<nlohmann::json> ask_status(Patient& patient, const std::string& socket) {
  Aside<Result<nlohmann::json>> look([socket] { return ask_socket(socket); });
  if (auto status = look.wait_until(std::chrono::steady_clock::now() + kLookLimit + std::chrono::milliseconds(200)))
    return std::move(*status);
  patient.hangs = true;
  return fail(Code::timed_out, "the daemon does not answer");
}

Result<nlohmann::json> ask_at(Patient& patient, const std::string& mount_point) {
  Aside<Link> look([mount_point] { return read_control_link(mount_point); });
  const auto link = look.wait_until(std::chrono::steady_clock::now() + kLookLimit);
  if (!link) {
    patient.hangs = true;
    return fail(Code::timed_out, "{} does not answer", mount_point);
  }
  if (link->error == ENOTCONN) return fail(Code::unreachable, "the daemon of {} has died", mount_point);
  if (link->error == EACCES) return fail(Code::denied, "{} is another user's", mount_point);
  if (link->error != 0) return fail(Code::not_found, "nothing of hffs is mounted at {}", mount_point);
  return ask_status(patient, link->target);
}

Result<nlohmann::json> find_daemon(Patient& patient) {
  if (patient.named) return ask_at(patient, patient.mount_point);
  const auto state_dir = load_state_dir(patient.flags, patient.environment);
  if (state_dir)
    if (auto status = ask_status(patient, control_socket(*state_dir)); status || status.error().code != Code::unreachable)
      return status;
  // Another's mount, for everybody.
  for (const HffsMount& each : patient.mounts)
    if (auto status = ask_at(patient, each.mount_point); status || patient.hangs) return status;
  return fail(Code::not_found, "no daemon runs");
}

// The daemon's own command again.
std::string remount_line(const Patient& patient, const std::string& without) {
  std::vector<std::string> words;
  std::ifstream file(fmt::format("/proc/{}/cmdline", patient.status->at("pid").get<int>()));
  for (std::string word; std::getline(file, word, '\0');) {
    if (word == "--foreground" || word == "-f" || (!without.empty() && word == without)) continue;
    // It may have been named from another directory.
    words.push_back(patient.mount_point.ends_with("/" + word) ? patient.mount_point : word);
  }
  const std::string end = command_line({"hffs", "umount", patient.mount_point});
  if (words.size() < 3) return fmt::format("{} && {}", end, mount_line(patient, patient.mount_point));
  words.front() = "hffs";
  return fmt::format("{} && {}", end, command_line(words));
}

}  // namespace

Patient examine(Flags flags) {
  Patient patient{.flags = std::move(flags), .environment = process_environment()};
  if (!patient.flags.mount_point.empty()) {
    patient.mount_point = patient.flags.mount_point = absolute_mount(patient.flags.mount_point);
    patient.named = true;
  }
  if (auto mounts = list_mounts()) patient.mounts = std::move(*mounts);
  // The settings look at the mount point, where one that hangs would hold us up.
  if (std::ranges::find(patient.mounts, patient.mount_point, &HffsMount::mount_point) != patient.mounts.end())
    patient.flags.mount_point.clear();
  read_settings(patient);
  if (auto status = find_daemon(patient)) {
    patient.status = std::move(*status);
    if (!patient.named) patient.mount_point = patient.status->at("mount_point").get<std::string>();
  } else {
    patient.silence = std::move(status.error());
  }
  return patient;
}

std::string mount_line(const Patient& patient, const std::string& mount_point) {
  const Flags& flags = patient.flags;
  std::vector<std::string> words{"hffs", "mount", mount_point};
  const auto add = [&](const char* name, const std::optional<std::string>& value) {
    if (value) words.insert(words.end(), {name, *value});
  };
  add("--config", flags.config_file);
  add("--state-dir", flags.state_dir);
  for (const std::string& endpoint : flags.endpoints) add("--endpoint", endpoint);
  add("--max-size", flags.max_size);
  add("--min-free", flags.min_free);
  add("--prefetch", flags.prefetch);
  add("--verify", flags.verify);
  if (flags.allow_other.value_or(false)) words.emplace_back("--allow-other");
  if (flags.offline.value_or(false)) words.emplace_back("--offline");
  return command_line(words);
}

const HffsMount* find_listed(const Patient& patient, const std::string& mount_point) {
  const HffsMount* found = nullptr;
  for (const HffsMount& each : patient.mounts)
    if (each.mount_point == mount_point) found = &each;
  return found;
}

bool is_service(const Patient& patient) {
  const HffsMount* mount = find_listed(patient, patient.mount_point);
  if (mount != nullptr && mount->user != 0) return false;  // a unit of the user's own may have that name
  std::ifstream file(fmt::format("/proc/{}/cgroup", patient.status->at("pid").get<int>()));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find("/hffs.service") != text.npos;
}

Remedy begin_anew(const Patient& patient, const Anew& how) {
  if (is_service(patient)) return {.run = {}, .who = fmt::format("root {}, and says: systemctl restart hffs", how.by_root)};
  const std::string line = how.before + remount_line(patient, how.without);
  const HffsMount* mount = find_listed(patient, patient.mount_point);
  if (mount == nullptr) return {.run = {}, .who = "who mounted it says, where that was: " + line};
  if (mount->user == ::geteuid()) return {.run = line, .who = {}};
  return {.run = {}, .who = fmt::format("{}, whose mount it is, says in a shell like this one: {}",
                                        mount->user == 0 ? "root" : fmt::format("uid {}", mount->user), line)};
}

std::string as_root_unless(uid_t user, const std::string& line) {
  return user == ::geteuid() ? line : as_root(line);
}

std::string as_root(const std::string& line) {
  if (::geteuid() == 0) return line;
  if (line.find_first_of("|&;<>$\"'\\") == line.npos) return "sudo " + line;
  return fmt::format("sudo sh -c {}", shell_word(line));
}

}  // namespace hffs::cli
