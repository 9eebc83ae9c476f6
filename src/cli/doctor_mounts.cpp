// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "doctor.h"
#include "progress.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

// readlink(2) of a dead mount asks nobody.
bool has_died(const HffsMount& mount) {
  char byte = 0;
  return ::readlink((mount.mount_point + "/.hffs").c_str(), &byte, 1) < 0 && errno == ENOTCONN;
}

// All of them, or the one that was named.
void add_dead_mounts(const Patient& patient, Checks& checks) {
  for (const HffsMount& each : patient.mounts) {
    const std::string& where = each.mount_point;
    if (patient.named && where != patient.mount_point) continue;
    if (find_listed(patient, where) != &each) continue;  // it lies below another
    // One that hangs would hold us up.
    Aside<bool> look([each] { return has_died(each); });
    if (patient.hangs || !look.wait_until(std::chrono::steady_clock::now() + std::chrono::seconds(2)).value_or(false)) continue;
    const bool meant = patient.named && where == patient.mount_point && each.user == ::geteuid();
    checks.push_back(bad("mount point", Code::unreachable, fmt::format("the daemon of {} has died", where),
                         {.run = meant ? mount_line(patient, where)
                                       : as_root_unless(each.user, command_line({"hffs", "umount", where})),
                          .who = {}}));
  }
}

// A mount point that was named, with nothing that answers at it.
Check check_place(const Patient& patient) {
  const std::string& where = patient.mount_point;
  const auto free = check_mount_point(where);
  if (free)
    return bad("mount point", Code::not_found, fmt::format("nothing is mounted at {}", where),
               {.run = mount_line(patient, where), .who = {}});
  const Error& error = free.error();
  if (error.code == Code::not_found)
    return bad("mount point", error.code, fmt::format("{} does not exist", where),
               {.run = fmt::format("mkdir -p {} && {}", shell_word(where), mount_line(patient, where)), .who = {}});
  return bad("mount point", error.code, error.message,
             {.run = {}, .who = "whose directory it is names another one, or makes it empty and free"});
}

Check check_silence(const Patient& patient) {
  const Error& why = *patient.silence;
  const std::string& where = patient.mount_point;
  const HffsMount* mount = find_listed(patient, where);
  switch (why.code) {
    case Code::denied:
      return bad("daemon", why.code,
                 fmt::format("{}, of uid {}, who mounted it for {} alone", why.message, mount != nullptr ? mount->user : 0,
                             mount != nullptr && mount->user == 0 ? "root" : "himself"),
                 {.run = {}, .who = fmt::format("uid {} mounts it again with --allow-other, or you mount one of your own: "
                                                "hffs mount DIR", mount != nullptr ? mount->user : 0)});
    case Code::timed_out:
      return bad("daemon", why.code, why.message + ": its processes hang or are stopped",
                 {.run = {}, .who = fmt::format("who mounted it looks for them (ps -C hffs), continues or ends them (kill -CONT, "
                                                "kill -KILL), and mounts again")});
    default: break;
  }
  return bad("daemon", why.code, why.message,
             {.run = {}, .who = "who mounted it looks into its log, hffs-v1/hffs.log of the state directory"});
}

std::string usual_place() {
  return ::geteuid() == 0 ? "/mnt/hf" : "~/hf";
}

Check nothing_mounted(const Patient& patient) {
  // Not quoted: the shell knows ~.
  std::string line = mount_line(patient, "MNT");
  line.replace(line.find("MNT"), 3, usual_place());
  return doubtful("daemon", "none runs here, and nothing is mounted",
                  {.run = fmt::format("mkdir -p {} && {}", usual_place(), line), .who = {}});
}

Check check_version(const Patient& patient) {
  const json& status = *patient.status;
  const int pid = status.at("pid").get<int>();
  const std::string version = status.at("version");
  if (version == HFFS_VERSION)
    return good("daemon", fmt::format("{}, process {}, up for {}", patient.mount_point, pid,
                                      duration_text(status.at("uptime_seconds").get<std::uint64_t>())));
  const HffsMount* mount = find_listed(patient, patient.mount_point);
  return doubtful("daemon", fmt::format("it is hffs {}, and this program {}", version, HFFS_VERSION),
                  {.run = is_service(patient) ? as_root("systemctl reload hffs")
                                              : as_root_unless(mount != nullptr ? mount->user : 0, fmt::format("kill -USR1 {}", pid)),
                   .who = {}});
}

Check check_offline(const Patient& patient) {
  Flags none;
  none.config_file = patient.flags.config_file;
  const auto by_file = load_config(none, [](std::string_view) { return std::optional<std::string>(); });
  Remedy remedy = begin_anew(patient, {.before = "unset HF_HUB_OFFLINE; ",
                                       .without = "--offline",
                                       .by_root = "takes HF_HUB_OFFLINE out of /etc/default/hffs, or offline out of /etc/hffs/config.toml"});
  if (!remedy.run.empty() && by_file && by_file->offline)
    remedy = {.run = {}, .who = "whose mount it is takes `offline` out of its configuration file, and mounts again"};
  else if (remedy.run.empty() && !is_service(patient))
    remedy.who = "once `offline` is in no configuration file of the daemon's, " + remedy.who;
  return doubtful("offline", "the daemon sends no request: only what is here is there", remedy);
}

void add_daemon_checks(const Patient& patient, Checks& checks) {
  const json& status = *patient.status;
  checks.push_back(check_version(patient));
  if (status.at("offline").get<bool>()) checks.push_back(check_offline(patient));
  const std::string reason = status.at("mode_reason");
  const std::string reads = fmt::format("{}: {}", status.at("mode").get<std::string>(), reason);
  if (reason.starts_with("switched off"))
    checks.push_back(doubtful("reads", reads, {.run = {}, .who = "whose mount it is takes fuse_features out of its configuration file, "
                                                                 "and mounts again"}));
  else
    checks.push_back(good("reads", reads));
}

}  // namespace

Checks check_mounts(const Patient& patient) {
  Checks checks;
  add_dead_mounts(patient, checks);
  const bool dead = std::ranges::any_of(checks, [&](const Check& each) {
    return each.says.ends_with(patient.mount_point + " has died");
  });
  if (patient.status) {
    add_daemon_checks(patient, checks);
  } else if (patient.named) {
    if (patient.silence->code == Code::not_found)
      checks.push_back(check_place(patient));
    else if (!dead)
      checks.push_back(check_silence(patient));
  } else if (patient.silence->code == Code::not_found || patient.silence->code == Code::unreachable) {
    if (checks.empty()) checks.push_back(nothing_mounted(patient));
  } else {
    checks.push_back(check_silence(patient));
  }
  return checks;
}

}  // namespace hffs::cli
