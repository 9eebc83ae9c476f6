// SPDX-License-Identifier: Apache-2.0
#include "completion.h"

#include <cstdio>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"

namespace hffs::cli {
namespace {

constexpr const char* kCompletionHelp = R"help(Prints what makes a shell complete commands, flags, and repositories that are known here. A package, and
`meson install`, put it in its place.

Examples:
  eval "$(hffs completion bash)"           in ~/.bashrc
  eval "$(hffs completion zsh)"            in ~/.zshrc, behind compinit
  hffs completion fish | source            in ~/.config/fish/config.fish)help";

struct ForScripts {
  std::string shell, prefix;
  bool json = false;
  DaemonName where;
};

// A key was pressed, and somebody waits.
constexpr std::chrono::seconds kPressed{1};

Result<void> print_script(const CLI::App& app, const std::string& shell) {
  const auto commands = list_commands(app);
  if (shell == "bash") fmt::print("{}", bash_script(commands));
  else if (shell == "zsh") fmt::print("{}", zsh_script(commands));
  else if (shell == "fish") fmt::print("{}", fish_script(commands));
  else return fail(Code::invalid, "'{}' is none of bash, zsh and fish", shell);
  return {};
}

// What is known here. Whatever goes wrong, the line that is being typed is not spoilt.
Result<void> print_repos(const ForScripts& words) {
  const auto end = std::chrono::steady_clock::now() + kPressed;
  nlohmann::json from = 0;
  while (!from.is_null()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {};
    const auto page = ask(words.where, {{"command", "names"}, {"from", from}, {"prefix", words.prefix}}, left);
    if (!page) return {};
    for (const auto& each : page->at("names")) fmt::print("{}\n", each.get<std::string>());
    from = page->at("next");
  }
  return {};
}

}  // namespace

std::string values_of(const OptionInfo& option) {
  const std::string& value = option.value;
  if (value == "PATH|REPO") return "place";
  if (value.find('|') != std::string::npos) {
    std::string words = value;
    for (char& c : words)
      if (c == '|') c = ' ';
    return words;
  }
  if (value == "FILE" || value == "PATH" || value == "LOCK") return "file";
  if (value == "DIR" || value == "MNT") return "directory";
  if (value == "REPO") return "repo";
  if (value == "COMMAND") return "command";
  if (value == "LEVEL") return "debug info warn error";
  if (value == "POLICY") return "off adaptive file snapshot";
  if (value == "WHEN") return "complete strict";
  return {};
}

void add_completion(CommandTable& table) {
  auto words = std::make_shared<ForScripts>();
  auto* command = table.add("completion", "Print what makes a shell complete hffs", kCompletionHelp,
                            [words, &table] { return print_script(table.app(), words->shell); });
  command->add_option("SHELL", words->shell, "Which one")->required()->type_name("bash|zsh|fish");
}

void add_for_completion(CommandTable& table) {
  auto words = std::make_shared<ForScripts>();
  auto* list = table.add("commands", "The table of commands", "", [words, &table]() -> Result<void> {
    if (!words->json) return fail(Code::invalid, "only --json is known");
    fmt::print("{}\n", pretty_json(to_json(list_commands(table.app()))));
    return {};
  });
  add_json(list, words->json);
  auto* repos = table.add("complete-repos", "Known repositories", "", [words] { return print_repos(*words); });
  repos->add_option("PREFIX", words->prefix);
  add_daemon(repos, words->where);
}

}  // namespace hffs::cli
