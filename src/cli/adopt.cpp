// SPDX-License-Identifier: Apache-2.0
#include "hffs/adopt.h"

#include <cstdio>
#include <filesystem>
#include <map>
#include <thread>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "hffs/lending.h"
#include "hffs/telemetry.h"
#include "job.h"
#include "progress.h"

namespace hffs::cli {
namespace {

constexpr const char* kAdoptHelp = R"(Makes the caches that users have each filled views of the mount: imports and checks each repository,
then puts a link to the mount in its place. One run as root does all users. The originals stay beside the
links until --finish; until then --undo puts them back. Left as they are, with the reason: folders that are
in use, that hold wrong bytes, partial downloads or broken links, and what the Hub does not list. May be
killed at any moment, and run again.

What the Hub lists is for those whom it lets read it, as everything in the mount. What it does not list stays
as it is, without --self-attested: everybody who sees the mount would see it.

Examples:
  sudo hffs adopt --dry-run                what there is, and how much of it twice
  sudo hffs adopt                          the caches of all users in the password database
  sudo hffs adopt --home-root /home        of all homes there
  sudo hffs adopt /data/alice/hf           a HF_HOME, a HF_HUB_CACHE, or a home
  sudo hffs adopt --undo /home/alice       everything back, below a directory
  sudo hffs adopt --finish                 remove the originals)";


struct AdoptArguments {
  std::vector<std::string> directories;
  std::string home_root;
  bool dry_run = false, undo = false, finish = false, self_attested = false, json = false;
  Flags flags;
};

using nlohmann::json;
// That of a run that was killed is ended by the daemon within 15 s.
constexpr std::chrono::seconds kOthersImport{20};

Result<std::string> to_repo(const std::string& layout_name) {
  const auto repo = RepoId::parse_layout(layout_name);
  if (!repo) return fail(Error(repo.error()));
  return repo->text();
}

Result<AdoptMount::Imported> import_one(const Config& config, const std::string& path, dev_t device,
                                        ino_t inode, bool confirmed_only) {
  const json request{{"command", "import"},         {"path", path},
                     {"device", device},            {"inode", inode},
                     {"confirmed_only", confirmed_only}, {"compare", true}};
  const auto end = std::chrono::steady_clock::now() + kOthersImport;
  Result<json> report;
  while (true) {
    // One for each: the daemon ends those that are silent.
    auto conversation = Conversation::with_daemon(config);
    if (!conversation) return fail(conversation);
    auto lender = Lender::start(path, false);
    if (!lender) return fail(lender);
    report = run_job(**conversation, request, lender->take_end());
    if (report || report.error().code != Code::busy || std::chrono::steady_clock::now() > end) break;
    std::this_thread::sleep_for(kPause);
  }
  if (!report) return fail(report);
  AdoptMount::Imported imported;
  std::size_t unreferenced = 0, others = 0;
  for (const json& skipped : report->at("skipped")) {
    if (skipped.at("why") == "unreferenced")
      ++unreferenced;
    else if (others++ == 0)
      imported.problem = fmt::format("{} ({}): {}", skipped.at("path").get<std::string>(),
                                     skipped.at("why").get<std::string>(),
                                     skipped.at("reason").get<std::string>());
  }
  if (others > 1) imported.problem += fmt::format("; and {} more", others - 1);
  if (unreferenced != 0)
    imported.remark = fmt::format("{} blobs that no snapshot names were not imported", unreferenced);
  return imported;
}

Result<void> check_whole(const Flags& flags, const std::string& layout_name,
                         const std::string& commit, const std::vector<std::string>& paths) {
  auto repo = to_repo(layout_name);
  if (!repo) return fail(repo);
  std::map<std::string, bool> whole;
  json from = 0;
  while (!from.is_null()) {
    auto page = ask({.flags = flags},
                    {{"command", "files"}, {"repo", *repo}, {"commit", commit}, {"from", from}},
                    kLongAnswer);
    if (!page) return fail(page);
    if (page->at("self_attested").get<bool>())
      return fail(Code::refused,
                  "the Hub has not confirmed {}, and what is evicted could not be fetched again: its "
                  "original stays",
                  commit);
    for (const json& file : page->at("files"))
      whole[file.at("path").get<std::string>()] = file.at("verified").get<bool>();
    from = page->at("next");
  }
  for (const std::string& path : paths)
    if (const auto found = whole.find(path); found == whole.end() || !found->second)
      return fail(Code::refused, "not all of {} is here: its original stays", path);
  return {};
}

// As the journal has them: folders that are links into the mount by now under their own names.
std::vector<std::string> places(const std::vector<std::string>& given) {
  namespace files = std::filesystem;
  std::vector<std::string> found;
  for (std::string path : given) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    std::error_code error;
    const files::path whole = files::absolute(path, error);
    found.push_back(files::weakly_canonical(whole, error).string());
    found.push_back((files::weakly_canonical(whole.parent_path(), error) / whole.filename()).string());
  }
  return found;
}

json to_json(const AdoptFolder& folder) {
  return {{"folder", folder.path},         {"user", folder.user}, {"bytes", folder.bytes},
          {"duplicate", folder.duplicate}, {"done", folder.done}, {"note", folder.note}};
}

void print_folder(const AdoptFolder& folder, std::string_view done) {
  fmt::print("{:<8} {:>10}  {}{}\n", folder.done ? done : "left", bytes_text(folder.bytes), printable(folder.path),
             folder.note.empty() ? "" : ": " + printable(folder.note));
  std::fflush(stdout);
}

void print_total(const AdoptReport& report, const AdoptArguments& arguments) {
  std::uint64_t bytes = 0, duplicate = 0, done = 0;
  for (const AdoptFolder& folder : report.folders) {
    bytes += folder.bytes;
    duplicate += folder.duplicate;
    done += folder.done ? 1 : 0;
  }
  if (arguments.json) {
    json folders = json::array();
    for (const AdoptFolder& folder : report.folders) folders.push_back(to_json(folder));
    const json all{{"bytes", bytes}, {"duplicate_bytes", duplicate}, {"folders", std::move(folders)}};
    fmt::print("{}\n", pretty_json(all));
  } else if (arguments.dry_run) {
    for (const AdoptFolder& folder : report.folders)
      fmt::print("{:>10}  {}{}\n", bytes_text(folder.bytes), printable(folder.path),
                 folder.note.empty() ? "" : ": would be left: " + printable(folder.note));
    fmt::print("{} in {} repositories, {} duplicates\n", bytes_text(bytes), report.folders.size(),
               bytes_text(duplicate));
  } else {
    fmt::print("{} of {} repositories, {}{}\n", done, report.folders.size(), bytes_text(bytes),
               duplicate != 0 ? ", of that " + bytes_text(duplicate) + " duplicates" : "");
  }
}

Result<void> adopt(const AdoptArguments& arguments) {
  const std::vector<std::string> below = places(arguments.directories);
  auto config = load_config(arguments.flags, process_environment());
  if (!config) return fail(config);
  start_log(Level::warn, "");
  auto store_directory = make_store_directory(config->state_dir);
  if (!store_directory) return fail(store_directory);
  auto adoption = Adoption::open(adopt_journal(config->state_dir));
  if (!adoption) return fail(adoption);

  const char* word = arguments.undo ? "undone" : arguments.finish ? "finished" : "adopted";
  const auto tell = [&](const AdoptFolder& folder) {
    if (!arguments.json) print_folder(folder, word);
  };
  Result<AdoptReport> report;
  if (arguments.undo) {
    report = (*adoption)->undo(below, tell);
  } else {
    auto caches = arguments.finish ? Result<std::vector<UserCache>>(std::vector<UserCache>())
                                   : find_caches(arguments.directories, arguments.home_root);
    if (!caches) return fail(caches);
    if (arguments.dry_run) {
      print_total((*adoption)->survey(*caches), arguments);
      return {};
    }
    auto status = ask({.flags = arguments.flags}, {{"command", "status"}});
    if (!status) return fail(status);
    const AdoptMount mount{
        .mount_point = status->at("mount_point").get<std::string>(),
        .import =
            [&](const std::string& path, dev_t device, ino_t inode, bool confirmed_only) {
              return import_one(*config, path, device, inode, confirmed_only);
            },
        .check_whole = [&](const std::string& name, const std::string& commit,
                           const std::vector<std::string>& paths) {
          return check_whole(arguments.flags, name, commit, paths);
        }};
    report = arguments.finish
                 ? (*adoption)->finish(below, mount, tell)
                 : (*adoption)->adopt(*caches, mount, arguments.self_attested, tell);
  }
  if (!report) return fail(report);
  print_total(*report, arguments);
  return {};
}

}  // namespace

void add_adopt(CommandTable& table) {
  auto words = std::make_shared<AdoptArguments>();
  auto* command = table.add("adopt", "Turn the caches of a server's users into views of the mount", kAdoptHelp,
                            [words] { return adopt(*words); });
  command->add_option("DIR", words->directories, "Caches, or what holds them [those of all users]");
  command->add_option("--home-root", words->home_root, "Where homes are: /home")->type_name("DIR");
  auto* dry_run = command->add_flag("--dry-run,-n", words->dry_run, "Only say what there is");
  auto* undo = command->add_flag("--undo", words->undo, "Put the originals back")->excludes(dry_run);
  command->add_flag("--finish", words->finish, "Remove the originals")->excludes(dry_run)->excludes(undo);
  command->add_flag("--self-attested", words->self_attested,
                    "Adopt also what the Hub does not list: everybody will see it");
  add_json(command, words->json);
  add_state_dir(command, words->flags);
}

}  // namespace hffs::cli
