// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "command_table.h"
#include "commands.h"
#include "repo_at.h"
#include "hffs/ids.h"

namespace hffs::cli {
namespace {

constexpr const char* kPathHelp = R"(Examples:
  llama-cli -m "$(hffs path ggml-org/gemma-3-4b-it-GGUF)/gemma-3-4b-it-Q4_K_M.gguf"
  hffs path openai/whisper-tiny@main
  hffs path datasets/rajpurkar/squad --mount ~/hf)";



// Behind the daemon's own limit for questions to the Hub.
constexpr std::chrono::seconds kHubsAnswer{30};

// Through the mount: this works where the daemon's socket cannot be reached, in a container for
// one.
Result<std::string> load_path(const std::string& mount_point, const RepoId& repo,
                              const std::string& revision) {
  const std::string directory = fmt::format("{}/{}", absolute_mount(mount_point), repo.layout());
  const bool is_commit = CommitId::parse(revision).has_value();
  const std::string name = is_commit ? fmt::format("{}/snapshots/{}", directory, revision)
                                     : fmt::format("{}/refs/{}", directory, revision);
  struct stat found{};
  if (::stat(name.c_str(), &found) != 0) {
    if (errno == ENOENT)
      return fail(Code::not_found,
                  "{} has no {}@{}, or the Hub could not be asked; is the name right, and is hffs "
                  "mounted there?",
                  mount_point, repo.text(), revision);
    return fail(system_error(errno, name));
  }
  if (is_commit) return name;
  errno = 0;
  std::ifstream file(name);
  std::string commit;
  if (!file || !(file >> commit) || !CommitId::parse(commit))
    return fail(errno != 0 ? system_error(errno, fmt::format("reading {}", name))
                           : Error{Code::corrupt, fmt::format("{} holds no commit", name), {}});
  return fmt::format("{}/snapshots/{}", directory, commit);
}

Result<std::string> ask_path(const Flags& flags, const RepoId& repo, const std::string& revision) {
  const nlohmann::json request{{"command", "path"}, {"repo", repo.text()}, {"revision", revision}};
  auto answer = ask({.flags = flags}, request, kHubsAnswer);
  if (!answer) return fail(answer);
  return answer->at("path").get<std::string>();
}

}  // namespace

Result<std::string> find_snapshot(const PathArguments& arguments) {
  const auto what = parse_repo_at(arguments.repo);
  if (!what) return fail(Error(what.error()));
  return arguments.mount_point.empty()
             ? ask_path(arguments.flags, what->repo, what->revision)
             : load_path(arguments.mount_point, what->repo, what->revision);
}

void add_path(CommandTable& table) {
  auto words = std::make_shared<PathArguments>();
  auto* command = table.add("path", "Print the directory of a repository's files", kPathHelp, [words]() -> Result<void> {
    auto found = find_snapshot(*words);
    if (!found) return fail(found);
    fmt::print("{}\n", *found);
    return {};
  });
  add_repo(command, words->repo);
  command->add_option("--mount", words->mount_point, "Where hffs is mounted")->type_name("MNT");
  add_state_dir(command, words->flags);
}

}  // namespace hffs::cli
