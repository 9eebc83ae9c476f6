// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "hffs/lending.h"
#include "job.h"
#include "progress.h"
#include "repo_at.h"

namespace hffs::cli {
namespace {

constexpr const char* kImportHelp = R"(What has the right hash joins the store, by reflink or copy; the source stays as it is. Where the
Hub cannot be asked what a repository holds, the folder is believed, and marked so until the Hub
has confirmed it. What was imported already is skipped: run it again to go on.

Examples:
  hffs import ~/.cache/huggingface/hub     all of a cache
  hffs import /media/disk/models--openai--whisper-tiny
  hffs import ~/whisper --repo openai/whisper-tiny
  hffs import /media/disk/hub --json | jq .skipped

Exit codes: 10 if a file had wrong bytes, 12 if one could not be read; the others were taken.)";


struct ImportArguments {
  std::string path;
  std::string repo;      // of a plain folder
  std::string revision;  // of a plain folder; empty: main
  bool json = false;
  Flags flags;
};

using nlohmann::json;

void print_import(const json& report) {
  for (const json& commit : report.at("commits")) {
    const auto number = [&](const char* name) { return commit.at(name).get<std::uint64_t>(); };
    fmt::print("{}@{}: {} files ({}) taken, {} were here, {} in all{}\n",
               text_in(commit, "repo"), text_in(commit, "commit"),
               number("taken_files"), bytes_text(number("taken_bytes")), number("present_files"),
               number("files"),
               commit.at("self_attested").get<bool>()
                   ? fmt::format("; self-attested, for there was no listing of the Hub: {}",
                                 text_in(commit, "reason"))
                   : "");
  }
  for (const json& skipped : report.at("skipped"))
    fmt::print("skipped {} ({}): {}\n", text_in(skipped, "path"), text_in(skipped, "why"), text_in(skipped, "reason"));
  for (const json& remark : report.at("remarks")) fmt::print("{}\n", printable(remark.get<std::string>()));
}

// A copy that is not whole, and what nobody refers to, is in the nature of a cache.
Result<void> judge(const json& report) {
  std::size_t wrong = 0, unreadable = 0;
  for (const json& skipped : report.at("skipped")) {
    if (skipped.at("why") == "wrong_bytes") ++wrong;
    if (skipped.at("why") == "unreadable") ++unreadable;
  }
  if (wrong != 0)
    return fail(Code::corrupt, "{} files had wrong bytes and were not taken; their names are above",
                wrong);
  if (unreadable != 0)
    return fail(Code::io, "{} files could not be read; their names are above", unreadable);
  return {};
}

Result<void> import_folder(const ImportArguments& arguments) {
  std::error_code error;
  const auto path = std::filesystem::absolute(arguments.path, error).lexically_normal();
  json request{{"command", "import"}, {"path", path.string()}};
  // Names in the folder may be anything; the question itself is JSON.
  if (parse_json(json_text(request)) != request)
    return fail(Code::unsupported, "the name of the folder is not UTF-8; give it another one");
  if (!arguments.repo.empty()) {
    const auto repo = parse_repo(arguments.repo);
    if (!repo) return fail(Error(repo.error()));
    request["repo"] = repo->text();
    request["revision"] = arguments.revision.empty() ? "main" : arguments.revision;
  }
  // Read with the rights of who calls us: a daemon has few, and where none runs we give ours up for the store's.
  auto lender = Lender::start(path.string(), !arguments.repo.empty());
  if (!lender) return fail(lender);
  auto done = run_job(arguments.flags, request, lender->take_end());
  if (!done) return fail(done);
  const json report{{"commits", done->at("commits")},
                    {"skipped", done->at("skipped")},
                    {"remarks", done->at("remarks")}};
  if (arguments.json)
    fmt::print("{}\n", pretty_json(report));
  else
    print_import(report);
  return judge(report);
}

}  // namespace

void add_import(CommandTable& table) {
  auto words = std::make_shared<ImportArguments>();
  auto* command = table.add("import", "Take in models that lie in a folder", kImportHelp,
                            [words] { return import_folder(*words); });
  command->add_option("PATH", words->path, "A Hugging Face cache, or a plain folder of a model")->required();
  command->add_option("--repo", words->repo, "PATH is a plain folder: of this repository")
      ->type_name("ORG/NAME");
  command->add_option("--revision", words->revision, "Its branch, tag or commit [main]")
      ->type_name("REV")
      ->needs("--repo");
  add_json(command, words->json);
  add_state_dir(command, words->flags);
  add_endpoint(command, words->flags, "Where no daemon runs: the Hub or a mirror");
  add_switch(command, "--offline", words->flags.offline, "Where no daemon runs: send no request");
}

}  // namespace hffs::cli
