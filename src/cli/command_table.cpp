// SPDX-License-Identifier: Apache-2.0
#include "command_table.h"

namespace hffs::cli {

CLI::App* CommandTable::add_command(const char* name, const char* summary, const char* help,
                                    std::function<Result<int>()> run) {
  runs_[name] = std::move(run);
  auto* command = app_.add_subcommand(name, summary);
  command->footer(help);
  command->group(heading_);
  return command;
}

void add_settings(CLI::App* command, Flags& flags) {
  command
      ->add_option("--state-dir", flags.state_dir,
                   "Where content and index are kept [/var/lib/hffs for root, ~/.cache/hffs else]")
      ->type_name("DIR");
  add_endpoint(command, flags, "The Hub, a mirror, or a folder of models (file:///PATH); may be repeated");
  add_switch(command, "--allow-other", flags.allow_other, "Let other users in");
  add_switch(command, "--offline", flags.offline, "Send no request; show what is known");
  add_switch(command, "--offline-partial", flags.offline_partial, "Offline, open files that are not wholly here, too");
  command->add_option("--log-level", flags.log_level, "debug, info, warn or error [info]")
      ->type_name("LEVEL");
  command
      ->add_option("--log-file", flags.log_file,
                   "[the state directory's hffs-v1/hffs.log; standard error in the foreground]")
      ->type_name("FILE");
  command
      ->add_option("--prefetch", flags.prefetch,
                   "What is fetched before it is read: off, adaptive, file (all of one that is read) "
                   "or snapshot [adaptive]")
      ->type_name("POLICY");
  command
      ->add_option("--max-size", flags.max_size,
                   "How much content may be kept: 500G, 2T; what was open longest ago goes [no limit]")
      ->type_name("SIZE");
  command
      ->add_option("--min-free", flags.min_free,
                   "What stays free on the disk [the larger of 10 % and 20G, at most half of what could "
                   "be had]")
      ->type_name("SIZE");
  command
      ->add_option("--verify", flags.verify,
                   "When a file's bytes are served: complete (as they come; hashed when it is whole) or "
                   "strict (only once all of it was verified) [complete]")
      ->type_name("WHEN");
  command->add_option("--ref-ttl", flags.ref_ttl, "How old a branch's commit may be [60]")
      ->type_name("SECONDS");
  command
      ->add_option("--read-deadline", flags.read_deadline,
                   "How long a reader waits for missing bytes before it gets EIO [900]")
      ->type_name("SECONDS");
  command
      ->add_option("--status-page", flags.status_page,
                   "A page for browsers, and figures for Prometheus: 127.0.0.1:PORT, [::1]:PORT or unix:/PATH [off]")
      ->type_name("ADDRESS");
}


void add_endpoint(CLI::App* command, Flags& flags, const char* what) {
  command->add_option("--endpoint", flags.endpoints, what)->type_name("URL")->allow_extra_args(false);
}

void add_switch(CLI::App* command, const char* name, std::optional<bool>& value, const char* what) {
  command->add_flag_callback(name, [&value] { value = true; }, what);
}

void add_json(CLI::App* command, bool& json) {
  command->add_flag("--json", json, "For programs");
}

void add_repo(CLI::App* command, std::string& repo) {
  command->add_option("REPO", repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION; or a URL or path of it")->required();
}

void add_globs(CLI::App* command, Globs& files) {
  command->add_option("--include", files.include, "Only files like this; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  command->add_option("--exclude", files.exclude, "No files like this; may be repeated")
      ->type_name("GLOB")
      ->allow_extra_args(false);
}

void add_state_dir(CLI::App* command, Flags& flags) {
  command->add_option("--state-dir", flags.state_dir, "The daemon's state directory")->type_name("DIR");
}

void add_daemon(CLI::App* command, DaemonName& where) {
  command->add_option("--mount", where.mount_point, "Where hffs is mounted")->type_name("MNT");
  add_state_dir(command, where.flags);
}

}  // namespace hffs::cli
