// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

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
  hffs lock -o eval.lock -- accelerate launch eval.py)";


struct LockArguments {
  std::string output = "models.lock";
  std::vector<std::string> command;
  DaemonName where;
};

using nlohmann::json;
// What shells say of a command that cannot be run, and add to the signal that ended one.
constexpr int kCannotRun = 126, kNotFound = 127, kSignal = 128;

Result<int> run(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  // What a shell sends to all of its foreground job is the command's business: we tell of its end.
  for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_IGN);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting the command"));
  if (child == 0) {
    for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_DFL);
    ::execvp(words[0], words.data());
    const int code = errno == ENOENT ? kNotFound : kCannotRun;
    fmt::print(stderr, "hffs: {}: {}\n", command.front(), std::strerror(errno));
    ::_exit(code);
  }
  int status = 0;
  while (true) {
    // Descendants whose parents have gone end here, too.
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended < 0 && errno != EINTR) return fail(system_error(errno, "waiting for the command"));
    if (ended == child) break;
  }
  return WIFSIGNALED(status) ? kSignal + WTERMSIG(status) : WEXITSTATUS(status);
}

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
  // Who loses its parent becomes our child, and so stays in the recording.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
    return fail(system_error(errno, "becoming the reaper of the command's descendants"));
  auto begun = ask(arguments.where, {{"command", "record"}});
  if (!begun) return fail(begun);
  std::this_thread::sleep_for(std::chrono::milliseconds(begun->at("settles_ms").get<std::uint64_t>()));
  auto code = run(arguments.command);
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
