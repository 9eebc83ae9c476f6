// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <functional>
#include <set>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"
#include "repo_at.h"
#include "suggestion.h"

namespace hffs::cli {
namespace {

constexpr const char* kListHelp = R"(For each commit: how much of its content is here, of how much, and when a file of it was open last. --outdated asks
the Hub for each ref, and says what a new commit would have to fetch; it changes nothing.

Examples:
  hffs ls
  hffs ls openai/whisper-tiny --json
  hffs ls --outdated)";

struct ListArguments {
  std::string repo;  // empty: all
  bool outdated = false, json = false;
  DaemonName where;
};

using nlohmann::json;

constexpr std::size_t kShortCommit = 12;

std::string short_commit(const json& commit) {
  return commit.get<std::string>().substr(0, kShortCommit);
}

using Show = std::function<void(const json& repos)>;

// Thousands of repositories are many pages: each is shown as it comes.
Result<json> load_repos(const ListArguments& arguments, const Show& show) {
  json repos = json::array(), request{{"command", "ls"}, {"from", 0}};
  if (!arguments.repo.empty()) {
    const auto repo = parse_repo(arguments.repo);
    if (!repo) return fail(Error(repo.error()));
    request["only"] = repo->text();
  }
  while (!request.at("from").is_null()) {
    auto page = ask(arguments.where, request, kLongAnswer);
    if (!page) return page;
    show(page->at("repos"));
    for (json& repo : page->at("repos")) repos.push_back(std::move(repo));
    request["from"] = page->at("next");
  }
  if (repos.empty() && request.contains("only")) {
    const std::string wanted = request.at("only");
    return fail(Code::not_found, "{} is not known here; look it up in the mount first{}", wanted,
                suggest_repo(arguments.where, wanted));
  }
  return repos;
}

void print_commits(const json& repos, bool headed) {
  if (!repos.empty() && !headed) fmt::print("{:>6} {:>10}  {:10}  {}\n", "HERE", "SIZE", "USED", "REPOSITORY");
  for (const json& repo : repos)
    for (const json& commit : repo.at("commits")) {
      std::string notes;
      for (const json& ref : commit.at("refs")) notes += "  " + printable(ref.get<std::string>());
      if (!repo.at("public").get<bool>()) notes += "  (private)";
      if (!commit.at("whole_tree").get<bool>()) notes += "  (not listed whole yet)";
      if (commit.at("self_attested").get<bool>()) notes += "  (self-attested)";
      if (commit.at("pinned").get<bool>() || repo.at("pinned").get<bool>()) notes += "  (pinned)";
      const json& used = commit.at("last_used");
      const std::uint64_t size = count_in(commit, "bytes"), here = count_in(commit, "bytes_here");
      fmt::print("{:>4} % {:>10}  {:10}  {}@{}{}\n", size == 0 ? 100 : 100 * here / size, bytes_text(size),
                 used.is_null() ? "never" : day_text(used.get<std::int64_t>()), text_in(repo, "repo"),
                 short_commit(commit.at("commit")), notes);
    }
}

// What reading the commit would still fetch.
Result<json> missing_of(const ListArguments& arguments, const json& repo, const json& commit) {
  std::uint64_t bytes = 0, files = 0;
  std::set<std::string> seen;
  json from = 0;
  while (!from.is_null()) {
    auto page = ask(arguments.where,
                    {{"command", "files"}, {"repo", repo}, {"commit", commit}, {"ask", true}, {"from", from}},
                    kLongAnswer);
    if (!page) return page;
    for (const json& file : page->at("files")) {
      if (!seen.insert(file.at("hash").get<std::string>()).second) continue;
      const std::uint64_t missing = count_in(file, "size") - count_in(file, "here");
      bytes += missing;
      files += missing != 0 ? 1 : 0;
    }
    from = page->at("next");
  }
  return json{{"missing_bytes", bytes}, {"missing_files", files}};
}

// Refs, and frozen ones, whose commit is not the Hub's.
Result<json> find_outdated(const ListArguments& arguments, const json& repos) {
  json outdated = json::array();
  std::size_t all = 0, asked = 0;
  for (const json& repo : repos) all += repo.at("refs").size();
  Progress progress;
  for (const json& repo : repos) {
    for (const json& ref : repo.at("refs")) {
      progress.show(fmt::format("asking the Hub: ref {} of {}", ++asked, all), 0, 0, 0, 0);
      const json& name = ref.at("revision");
      auto now = ask(arguments.where,
                     {{"command", "ref"}, {"repo", repo.at("repo")}, {"revision", name}, {"ask", true}},
                     kLongAnswer);
      if (!now && now.error().code != Code::not_found) return now;
      const bool frozen = now && !now->at("frozen").is_null();
      const json& here = frozen ? now->at("frozen") : ref.at("commit");
      const json hub = now ? now->at("hub") : json();
      if (hub == here) continue;
      json found{{"repo", repo.at("repo")}, {"revision", name}, {"commit", here}, {"frozen", frozen},
                 {"since", ref.at("since")}, {"hub", hub},
                 {"hub_time", now ? now->at("hub_time") : json()}};
      if (!hub.is_null()) {
        auto missing = missing_of(arguments, repo.at("repo"), hub);
        if (!missing) return missing;
        found.update(*missing);
      }
      outdated.push_back(std::move(found));
    }
  }
  return outdated;
}

void print_outdated(const json& outdated) {
  for (const json& ref : outdated) {
    fmt::print("{} {}{}: {} (since {})", text_in(ref, "repo"), text_in(ref, "revision"), ref.at("frozen").get<bool>() ? " (frozen)" : "",
               short_commit(ref.at("commit")), day_text(ref.at("since").get<std::int64_t>()));
    if (ref.at("hub").is_null()) {
      fmt::print(", which the Hub does not have any more\n");
      continue;
    }
    const json& time = ref.at("hub_time");
    fmt::print(" → {}{}: {} in {} files to fetch\n", short_commit(ref.at("hub")),
               time.is_null() ? "" : fmt::format(" ({})", day_text(time.get<std::int64_t>())),
               bytes_text(count_in(ref, "missing_bytes")), count_in(ref, "missing_files"));
  }
}

Result<void> list(const ListArguments& arguments) {
  const bool plain = !arguments.json && !arguments.outdated;
  bool headed = false;
  auto answer = load_repos(arguments, [&](const json& repos) {
    if (!plain) return;
    print_commits(repos, headed);
    headed = headed || !repos.empty();
  });
  if (answer && arguments.outdated) answer = find_outdated(arguments, *answer);
  if (!answer) return fail(answer);
  if (arguments.json)
    fmt::print("{}\n", pretty_json(*answer));
  else if (arguments.outdated)
    print_outdated(*answer);
  return {};
}

}  // namespace

void add_ls(CommandTable& table) {
  auto words = std::make_shared<ListArguments>();
  auto* command = table.add("ls", "List the repositories and commits that are known here", kListHelp,
                            [words] { return list(*words); });
  command->add_option("REPO", words->repo, "ORG/NAME or datasets/ORG/NAME: only this");
  command->add_flag("--outdated", words->outdated, "Only refs that have moved on the Hub");
  add_json(command, words->json);
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
