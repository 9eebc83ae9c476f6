// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "command_table.h"
#include "commands.h"
#include "hffs/carry.h"
#include "hffs/json_text.h"
#include "progress.h"
#include "repo_at.h"

namespace hffs::cli {
namespace {

constexpr const char* kExportHelp = R"(Fetches what is missing. The folder needs no hffs: it can be a HF_HUB_CACHE elsewhere, or be taken
in with `hffs import`. Run it again to go on where it stopped.

Examples:
  hffs export openai/whisper-tiny /media/disk/hub
  hffs export openai/whisper-tiny@main /media/disk/hub --exclude '*.bin' --exclude '*.msgpack'
  hffs export openai/whisper-tiny ~/whisper --flat --include '*.safetensors' --include '*.json')";


struct ExportArguments {
  PathArguments what;
  std::string directory;
  bool flat = false;
  bool json = false;
  Globs files;
};

using nlohmann::json;
constexpr std::chrono::seconds kStatus{10};

// Whether the daemon behind a mounted path sends no requests, as far as it can be asked.
bool is_offline(const std::string& snapshot) {
  // MNT/models--ORG--NAME/snapshots/COMMIT
  const auto mount = std::filesystem::path(snapshot).parent_path().parent_path().parent_path();
  const auto socket = load_control_link(mount.string());
  if (!socket) return false;
  auto daemon = ControlClient::connect(*socket);
  if (!daemon) return false;
  const auto answer = daemon->ask(R"({"command":"status"})", kStatus);
  return answer && parse_json(*answer).at("offline").get<bool>();
}

void print_json(const ExportReport& report) {
  json failed = json::array();
  for (const Skipped& each : report.failed)
    failed.push_back(
        {{"path", each.path}, {"why", name_of(each.why)}, {"reason", each.reason}});
  const json all{{"path", report.path},
                 {"written_files", report.written_files},
                 {"written_bytes", report.written_bytes},
                 {"present_files", report.present_files},
                 {"present_bytes", report.present_bytes},
                 {"failed", std::move(failed)}};
  fmt::print("{}\n", pretty_json(all));
}

Result<void> export_repo(const ExportArguments& arguments) {
  const auto what = parse_repo_at(arguments.what.repo);
  if (!what) return fail(Error(what.error()));
  auto snapshot = find_snapshot(arguments.what);
  if (!snapshot) return fail(snapshot);
  std::error_code error;
  // What is synced is opened without following a link: hub -> /data/hub is found out here.
  auto directory =
      std::filesystem::weakly_canonical(std::filesystem::absolute(arguments.directory, error), error)
          .string();
  if (error) return fail(system_error(error.value(), arguments.directory));
  while (directory.ends_with('/')) directory.pop_back();
  ExportRequest request{.snapshot = *snapshot,
                        .revision = CommitId::parse(what->revision) ? "" : what->revision,
                        .directory = directory,
                        .flat = arguments.flat,
                        .files = arguments.files};
  Progress progress;
  auto report = export_snapshot(request, system_disk(), [&](const CarryProgress& now) {
    progress.show(now.doing, now.files_done, now.files, now.bytes_done, now.bytes);
  });
  progress.clear();
  if (!report) return fail(report);
  if (arguments.json)
    print_json(*report);
  else
    fmt::print("{}: {} files ({}) written, {} were there\n", report->path, report->written_files,
               bytes_text(report->written_bytes), report->present_files);
  if (report->failed.empty()) return {};
  for (const Skipped& each : report->failed)
    fmt::print(stderr, "missing {}: {}\n", printable(each.path), printable(each.reason));
  const bool offline = is_offline(*snapshot);
  return fail(offline ? Code::offline : Code::io,
              "{} files could not be had{}; {}", report->failed.size(),
              offline ? ": hffs runs offline and does not have all of them" : "",
              offline ? "mount without --offline, or leave them out with --exclude"
                      : "the daemon's log says why; run it again to go on");
}

}  // namespace

void add_export(CommandTable& table) {
  auto words = std::make_shared<ExportArguments>();
  auto* command = table.add("export", "Write a model into an ordinary cache folder", kExportHelp,
                            [words] { return export_repo(*words); });
  add_repo(command, words->what.repo);
  command->add_option("DIR", words->directory, "The cache that is written, or added to")->required();
  command->add_flag("--flat", words->flat, "Just the files, below DIR");
  add_globs(command, words->files);
  add_json(command, words->json);
  command->add_option("--mount", words->what.mount_point, "Where hffs is mounted")->type_name("MNT");
  add_state_dir(command, words->what.flags);
}

}  // namespace hffs::cli
