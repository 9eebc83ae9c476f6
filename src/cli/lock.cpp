// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <thread>

#include "child.h"
#include "command_table.h"
#include "commands.h"
#include "lock_file.h"

namespace hffs::cli {
namespace {

constexpr const char* kLockHelp = R"(Runs a command, and writes down the files of the mount that it and its descendants opened: repository,
commit, path, size and hash. The exit code is the command's. `hffs check` compares later.

Not seen: files that were open before, and what a server reads that runs already. Of the same content
under several names, or in commits whose refs were not read, the likeliest is told.

Examples:
  hffs lock -- python train.py
  hffs lock -o eval.lock -- python eval.py)";


struct LockArguments {
  std::string output = "models.lock";
  std::vector<std::string> command;
  DaemonName where;
};

using nlohmann::json;

Result<json> load_recorded(const DaemonName& where, const json& recording) {
  std::map<std::pair<std::string, std::string>, json> repos;
  json from = 0;
  while (!from.is_null()) {
    auto page = ask(where, {{"command", "recorded"}, {"recording", recording}, {"from", from}},
                    kLongAnswer);
    if (!page) return page;
    for (const json& commit : page->at("commits")) {
      json& repo = repos[{commit.at("repo").get<std::string>(), commit.at("commit").get<std::string>()}];
      if (repo.is_null())
        repo = {{"repo", commit.at("repo")}, {"commit", commit.at("commit")},
                {"refs", commit.at("refs")}, {"files", json::array()}};
      for (const json& file : commit.at("files"))
        repo["files"].push_back(
            {{"path", file.at("path")}, {"size", file.at("size")}, {"hash", file.at("hash")}});
    }
    from = page->at("next");
  }
  json all = json::array();
  for (auto& [name, repo] : repos) all.push_back(std::move(repo));
  return all;
}

Result<int> lock(const LockArguments& arguments) {
  // Who loses its parent stays in the recording.
  if (auto reaper = become_reaper(); !reaper) return fail(reaper);
  auto begun = ask(arguments.where, {{"command", "record"}});
  if (!begun) return fail(begun);
  std::this_thread::sleep_for(std::chrono::milliseconds(begun->at("settles_ms").get<std::uint64_t>()));
  auto code = run_child(arguments.command);
  if (!code) return code;
  auto repos = load_recorded(arguments.where, begun->at("recording"));
  if (!repos) return fail(std::move(repos.error()).during("what was read is not known"));
  if (auto written = write_lock_file(*repos, arguments.output); !written) return fail(written);
  if (repos->empty())
    fmt::print(stderr, "hffs: the command has opened no file of the mount; {} is empty\n",
               arguments.output);
  return code;
}

}  // namespace

void add_lock(CommandTable& table) {
  auto words = std::make_shared<LockArguments>();
  auto* command = table.add("lock", "Run a command, and write down what it reads", kLockHelp,
                            [words] { return lock(*words); });
  command->add_option("-o,--output", words->output, "The lock file, or - [models.lock]")->type_name("FILE");
  command->add_option("COMMAND", words->command, "Behind --")->required();
  command->positionals_at_end();
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
