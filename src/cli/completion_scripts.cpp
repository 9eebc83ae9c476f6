// SPDX-License-Identifier: Apache-2.0
#include "completion.h"
#include "shell_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace hffs::cli {
namespace {

// Word by word: "config check" is "check" after "config".
std::string first_word(const std::string& name) {
  return name.substr(0, name.find(' '));
}

// The commands, and those below others as "config:check".
std::vector<std::pair<std::string, std::string>> list_first_words(const std::vector<CommandInfo>& commands) {
  std::vector<std::pair<std::string, std::string>> words;
  for (const CommandInfo& each : commands)
    if (words.empty() || words.back().first != first_word(each.name)) words.emplace_back(first_word(each.name), each.summary);
  return words;
}

std::string list_names(const CommandInfo& command) {
  std::string text;
  for (const OptionInfo& each : command.options)
    for (const std::string& name : each.names) text += (text.empty() ? "" : " ") + name;
  return text;
}

// What `case` of a shell needs: one line for each option that takes a value, one for each command.
std::string shell_cases(const std::vector<CommandInfo>& commands) {
  std::string text;
  for (const CommandInfo& command : commands)
    for (const OptionInfo& option : command.options)
      if (!option.value.empty())
        for (const std::string& name : option.names)
          text += fmt::format("    '{} {}') kind={} ;;\n", command.name, name, shell_word(values_of(option).empty() ? "-" : values_of(option)));
  return text;
}

// Each of a command's words has its place; the last one may be of many.
std::string place_cases(const CommandInfo& command) {
  std::string text;
  for (std::size_t place = 0; place < command.positionals.size(); ++place) {
    const OptionInfo& each = command.positionals[place];
    text += fmt::format(" {}) positional={} ;;", each.repeatable ? "*" : std::to_string(place), shell_word(values_of(each)));
  }
  return text.empty() ? "" : fmt::format(" case $place in{} esac", text);
}

std::string command_cases(const std::vector<CommandInfo>& commands) {
  std::string text;
  for (const CommandInfo& command : commands)
    text += fmt::format("    {}) flags={}{} ;;\n", shell_word(command.name), shell_word(list_names(command)),
                        place_cases(command).empty() ? "" : ";" + place_cases(command));
  return text;
}

std::string below_cases(const std::vector<CommandInfo>& commands) {
  std::string text;
  for (const CommandInfo& command : commands)
    if (const std::size_t space = command.name.find(' '); space != std::string::npos)
      text += fmt::format("    {}) below={} ;;\n", command.name.substr(0, space), shell_word(command.name.substr(space + 1)));
  return text;
}

std::string replaced(std::string text, std::string_view what, const std::string& by) {
  const std::size_t at = text.find(what);
  return text.replace(at, what.size(), by);
}

// Both shells find command, option and place in the same way; bash's words begin at 0, and so do ours in zsh (KSH_ARRAYS).
constexpr const char* kFind = R"sh(
  command= kind= flags= positional= below= place=0 i=
  for ((i = 1; i <= at; i++)); do
    kind=
    case "$command ${words[i - 1]}" in
@VALUES@    esac
    if [ $i = $at ]; then break; fi
    if [ -n "$kind" ]; then continue; fi
    case ${words[i]} in
      --) [ -n "$command" ] && { _hffs_complete command; return; } ;;
      -*) ;;
      *) if [ -z "$command" ]; then
           command=${words[i]}
           case $command in
@BELOW@           esac
         elif [ -n "$below" ]; then command="$command ${words[i]}"; below=
         else place=$((place + 1)); fi ;;
    esac
  done
  if [ -n "$kind" ]; then _hffs_complete "$kind"; return; fi
  case $command in
    '') positional=@COMMANDS@ ;;
@CASES@  esac
  if [ -n "$below" ]; then positional=$below flags=; fi
  case $current in -*) _hffs_complete "$flags" ;; *) _hffs_complete "$positional" ;; esac
)sh";

std::string find_text(const std::vector<CommandInfo>& commands) {
  std::string names;
  for (const auto& [name, summary] : list_first_words(commands)) names += (names.empty() ? "" : " ") + name;
  std::string text = replaced(kFind, "@BELOW@", below_cases(commands));
  text = replaced(text, "@VALUES@", shell_cases(commands));
  text = replaced(text, "@COMMANDS@", shell_word(names));
  return replaced(text, "@CASES@", command_cases(commands));
}

constexpr const char* kBash = R"sh(# bash completion of hffs, made by `hffs completion bash`
_hffs_complete() {
  local found=
  case $1 in
    file) found=$(compgen -f -- "$current"); compopt -o filenames 2>/dev/null ;;
    directory) found=$(compgen -d -- "$current"); compopt -o filenames 2>/dev/null ;;
    repo) found=$(hffs complete-repos "$current" 2>/dev/null) ;;
    place) found=$({ compgen -f -- "$current"; hffs complete-repos "$current" 2>/dev/null; }); compopt -o filenames 2>/dev/null ;;
    command) found=$(compgen -c -f -- "$current") ;;
    -) ;;
    *) found=$(compgen -W "$1" -- "$current") ;;
  esac
  if [ -n "$found" ]; then mapfile -t COMPREPLY <<<"$found"; fi
}
_hffs() {
  local words at current command kind flags positional below place i
  words=("${COMP_WORDS[@]}") at=$COMP_CWORD current=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()@FIND@}
complete -F _hffs hffs
)sh";

constexpr const char* kZsh = R"sh(#compdef hffs
# zsh completion of hffs, made by `hffs completion zsh`
_hffs_complete() {
  case $1 in
    file) _files ;;
    directory) _files -/ ;;
    repo) compadd -- ${(f)"$(hffs complete-repos "$current" 2>/dev/null)"} ;;
    place) _files; compadd -- ${(f)"$(hffs complete-repos "$current" 2>/dev/null)"} ;;
    command) _normal ;;
    -) ;;
    *) compadd -- ${=1} ;;
  esac
}
_hffs_find() {
  setopt localoptions ksh_arrays no_nomatch@FIND@}
_hffs() {
  local at=$((CURRENT - 1)) current=$PREFIX command kind flags positional below place i
  _hffs_find
}
if [ "$funcstack[1]" = _hffs ]; then _hffs "$@"; else compdef _hffs hffs; fi
)sh";

constexpr const char* kFishRepos = " -a '(hffs complete-repos (commandline -ct) 2>/dev/null)'";

// Whether as many words stand behind the command as it is asked, flags and what belongs to them left out.
constexpr const char* kFishPlace = R"sh(function __hffs_place
  set -l place -1
  set -l value no
  for word in (commandline -opc)[2..-1]
    if test $value = yes
      set value no
    else if contains -- $word @VALUED@
      set value yes
    else if not string match -q -- '-*' $word
      set place (math $place + 1)
    end
  end
  test $place $argv
end
)sh";

std::string fish_place(const std::vector<CommandInfo>& commands) {
  std::set<std::string> valued;
  for (const CommandInfo& command : commands)
    for (const OptionInfo& option : command.options)
      if (!option.value.empty()) valued.insert(option.names.begin(), option.names.end());
  std::string names;
  for (const std::string& name : valued) names += (names.empty() ? "" : " ") + name;
  return replaced(kFishPlace, "@VALUED@", names);
}

std::string fish_values(const OptionInfo& option) {
  const std::string kind = values_of(option);
  if (kind == "file") return " -r -F";
  if (kind == "directory") return " -a '(__fish_complete_directories)'";
  if (kind == "repo") return kFishRepos;
  if (kind == "place") return std::string(" -F") + kFishRepos;
  if (kind == "command") return " -a '(__fish_complete_command)'";
  return kind.empty() ? "" : fmt::format(" -a {}", shell_word(kind, Shell::fish));
}

std::string fish_option(const std::string& condition, const OptionInfo& option) {
  std::string line = fmt::format("complete -c hffs -n {}", shell_word(condition, Shell::fish));
  for (const std::string& name : option.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  const bool is_file = values_of(option) == "file";
  // -x: no files beside what is offered.
  if (!option.value.empty()) line += std::string(is_file ? "" : " -x") + fish_values(option);
  return fmt::format("{} -d {}\n", line, shell_word(option.what, Shell::fish));
}

}  // namespace

std::string bash_script(const std::vector<CommandInfo>& commands) {
  return replaced(kBash, "@FIND@", find_text(commands));
}

std::string zsh_script(const std::vector<CommandInfo>& commands) {
  return replaced(kZsh, "@FIND@", find_text(commands));
}

std::string fish_script(const std::vector<CommandInfo>& commands) {
  std::string text = "# fish completion of hffs, made by `hffs completion fish`\ncomplete -c hffs -f\n" + fish_place(commands);
  for (const auto& [name, summary] : list_first_words(commands))
    text += fmt::format("complete -c hffs -n __fish_use_subcommand -a {} -d {}\n", name, shell_word(summary, Shell::fish));
  for (const CommandInfo& command : commands) {
    const std::size_t space = command.name.find(' ');
    std::string condition = "__fish_seen_subcommand_from " + first_word(command.name);
    if (space != std::string::npos) {
      const std::string last = command.name.substr(space + 1);
      text += fmt::format("complete -c hffs -n '{0}; and not __fish_seen_subcommand_from {1}' -a {1} -d {2}\n", condition, last,
                          shell_word(command.summary, Shell::fish));
      condition += "; and __fish_seen_subcommand_from " + last;
    }
    for (const OptionInfo& option : command.options) text += fish_option(condition, option);
    std::size_t place = space == std::string::npos ? 0 : 1;
    for (const OptionInfo& positional : command.positionals) {
      const std::string its = fmt::format("{}; and __hffs_place {} {}", condition, positional.repeatable ? "-ge" : "-eq", place++);
      if (const std::string values = fish_values(positional); !values.empty())
        text += fmt::format("complete -c hffs -n {}{}\n", shell_word(its, Shell::fish), values == " -r -F" ? " -F" : values);
    }
  }
  return text;
}

}  // namespace hffs::cli
