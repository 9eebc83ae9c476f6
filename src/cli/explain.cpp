// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <ctime>
#include <deque>
#include <filesystem>

#include "bars.h"
#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"
#include "repo_at.h"
#include "suggestion.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

constexpr const char* kExplainHelp = R"(Says why a path of the mount looks as it does to you: which repository and commit it is of, whether you may see it, how
much of it is here and what reading it would fetch, how the next open of it reads, and what went wrong with it lately.

Examples:
  hffs explain ~/hf/models--openai--whisper-tiny/snapshots/main/model.safetensors
  hffs explain openai/whisper-tiny@main
  hffs explain . --json | jq .problem

The exit code is that of the problem, if there is one.)";

constexpr int kMostLinks = 40;

struct ExplainArguments {
  std::string path;
  bool json = false;
  DaemonName where;
};

// Where in a mount a path leads; links before the mount are followed, those in it are the daemon's business.
struct Below {
  std::string mount_point, path;
};

bool is_mount_root(const std::string& directory) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlink((directory + "/.hffs").c_str(), target.data(), target.size());
  // A daemon that has died leaves a mount point, too.
  return size > 0 || errno == ENOTCONN;
}

Result<Below> find_below(const std::string& given) {
  std::error_code error;
  std::deque<std::string> names;
  for (const auto& part : std::filesystem::absolute(given, error)) names.push_back(part.string());
  std::filesystem::path walked = "/";
  for (int links = 0; !names.empty();) {
    const std::string name = std::move(names.front());
    names.pop_front();
    if (name.empty() || name == "/" || name == ".") continue;
    if (name == "..") {
      walked = walked.parent_path();
      continue;
    }
    const std::filesystem::path next = walked / name;
    const auto target = std::filesystem::read_symlink(next, error);
    if (!error && ++links < kMostLinks) {
      std::deque<std::string> further;
      for (const auto& part : target) further.push_back(part.string());
      names.insert(names.begin(), further.begin(), further.end());
      if (target.is_absolute()) walked = "/";
      continue;
    }
    walked = next;
    if (!is_mount_root(walked.string())) continue;
    std::string behind;
    for (const std::string& rest : names) behind += (behind.empty() ? "" : "/") + rest;
    return Below{walked.string(), std::filesystem::path(behind).lexically_normal().string()};
  }
  return fail(Code::not_found, "{} is not in a mount of hffs; `findmnt -t fuse.hffs` lists those that are", given);
}

// In a directory of the mount the name of a repository looks like a path; its first part is not there, then.
bool begins_nowhere(const std::string& path) {
  struct stat found {};
  const std::size_t slash = path.find('/');
  return slash != path.npos && ::lstat(path.substr(0, slash).c_str(), &found) != 0;
}

Result<Below> find_place(const ExplainArguments& words) {
  const bool is_address = words.path.starts_with("http://") || words.path.starts_with("https://") || words.path.starts_with("hf://");
  auto below = is_address ? Result<Below>(fail(Code::not_found, "")) : find_below(words.path);
  if (words.path.starts_with('/') || words.path.starts_with('.') || (below && !begins_nowhere(words.path))) return below;
  const auto what = parse_repo_at(words.path);
  if (!what) return is_address ? Result<Below>(fail(Error(what.error()))) : below;
  const bool is_commit = CommitId::parse(what->revision).has_value();
  const bool is_here = below && words.where.mount_point.empty() && words.where.flags.state_dir == std::nullopt;
  return Below{is_here ? below->mount_point : words.where.mount_point,
               fmt::format("{}/{}/{}", what->repo.layout(), is_commit ? "snapshots" : "refs", what->revision)};
}

void explain_row(std::string_view name, std::string_view text) {
  fmt::print("{:<12} {}\n", name, text);
}

std::string program_text(const json& who) {
  return fmt::format("{} (process {}, user {})", text_in(who, "comm"), who.at("pid").get<std::int64_t>(),
                     who.at("uid").get<std::uint64_t>());
}

void print_file(const json& file) {
  const auto size = file.at("size").get<std::uint64_t>(), here = file.at("here").get<std::uint64_t>();
  explain_row("is", fmt::format("{} of {}@{}", text_in(file, "path"), text_in(file, "repo"), text_in(file, "commit").substr(0, 12)));
  explain_row("hash", text_in(file, "hash"));
  explain_row("here", fmt::format("{} of {} ({} %){}", bytes_text(here), bytes_text(size), size == 0 ? 100 : 100 * here / size,
                                  file.at("verified").get<bool>() ? ", verified" : here == size ? ", not verified yet" : ""));
  if (here != 0 && here != size) {
    std::string picture;
    for (const json& part : file.at("here_by_part")) picture += part == 100 ? '#' : part == 0 ? '.' : '+';
    explain_row("", fmt::format("[{}]", picture));
  }
  explain_row("next open", text_in(file, "next_open"));
  if (const auto missing = file.at("missing").get<std::uint64_t>(); missing != 0)
    explain_row("would fetch", fmt::format("{}, if all of it is read", bytes_text(missing)));
  for (const json& reader : file.at("readers"))
    explain_row("read by", program_text(reader) + (reader.at("waiting_ms").is_number()
                                                   ? fmt::format(", which waits for {}", duration_text(reader.at("waiting_ms").get<std::uint64_t>() / 1'000))
                                                   : ""));
}

std::string ago_text(const json& when) {
  const auto ago = std::max<std::int64_t>(0, std::time(nullptr) - when.get<std::int64_t>());
  return duration_text(static_cast<std::uint64_t>(ago)) + " ago";
}

void print_ref(const json& ref) {
  explain_row("commit", text_in(ref, "commit") + (ref.at("frozen").get<bool>() ? ", pinned" : ""));
  if (!ref.at("since").is_number()) return;  // it stays whatever the Hub says
  explain_row("", fmt::format("{}; first seen {}", ref.at("confirmed").is_number()
                                                       ? "as the Hub said " + ago_text(ref.at("confirmed"))
                                                       : "the Hub has not said so since the daemon began",
                              day_text(ref.at("since").get<std::int64_t>())));
}

void print_explanation(const json& answer) {
  explain_row("path", fmt::format("{}/{}", text_in(answer, "mount_point"), text_in(answer, "path")));
  if (answer.at("kind").is_string()) explain_row("what", text_in(answer, "kind"));
  if (const json& verdict = answer.at("verdict"); !verdict.is_null())
    explain_row("repository", fmt::format("{}: {}", text_in(answer, "repo"),
                                          !verdict.at("seen").get<bool>() ? "not for you, or not there"
                                          : verdict.at("public").get<bool>() ? "public"
                                                                             : "private or gated; you were let in"));
  for (const json& link : answer.at("links"))
    explain_row("link", fmt::format("{} -> {}", text_in(link, "name"), text_in(link, "target")));
  if (!answer.at("ref").is_null()) print_ref(answer.at("ref"));
  if (!answer.at("file").is_null()) print_file(answer.at("file"));
  for (const json& endpoint : answer.at("endpoints"))
    explain_row("endpoint", fmt::format("{} {}{}{}", text_in(endpoint, "endpoint"), endpoint.at("up").get<bool>() ? "up" : "down",
                                        text_in(endpoint, "last_error").empty() ? "" : ": ", text_in(endpoint, "last_error")));
  for (const json& failure : answer.at("failures")) {
    const auto times = failure.at("count").get<std::uint64_t>();
    explain_row("failed", fmt::format("{}{}: {} by {}: {}: {}", ago_text(failure.at("when")),
                                      times > 1 ? fmt::format(", {} times", times) : "", text_in(failure, "operation"), program_text(failure),
                                      text_in(failure, "code"), text_in(failure, "message")));
    if (!text_in(failure, "remedy").empty()) explain_row("", text_in(failure, "remedy"));
  }
}

// What a client has written is the user's own, and the catalog knows nothing of it.
bool is_own_file(const Below& place) {
  struct stat found {};
  return !place.mount_point.empty() && ::lstat((place.mount_point + '/' + place.path).c_str(), &found) == 0;
}

Result<void> explain(const ExplainArguments& words) {
  auto place = find_place(words);
  if (!place) return fail(place);
  DaemonName where = words.where;
  if (!place->mount_point.empty()) where.mount_point = place->mount_point;
  auto answer = ask(where, {{"command", "explain"}, {"path", place->path}}, kLongAnswer);
  if (!answer) return fail(answer);
  json& problem = answer->at("problem");
  if (!problem.is_null() && text_in(problem, "code") == "not_found" && is_own_file(*place)) {
    problem = nullptr;
    answer->at("kind") = "a file of your own: what clients write, others do not see";
  }
  if (words.json) fmt::print("{}\n", pretty_json(*answer));
  else
    print_explanation(*answer);
  if (problem.is_null()) return {};
  const std::string remedy = text_in(problem, "remedy");
  if (const json& verdict = answer->at("verdict"); !verdict.is_null() && !verdict.at("seen").get<bool>())
    problem["message"] = text_in(problem, "message") + suggest_repo(where, text_in(*answer, "repo"));
  return fail(code_named(text_in(problem, "code")).value_or(Code::io), "{}: {}{}{}", text_in(problem, "at"), text_in(problem, "message"),
              remedy.empty() ? "" : "; ", remedy);
}

}  // namespace

void add_explain(CommandTable& table) {
  auto words = std::make_shared<ExplainArguments>();
  auto* command = table.add("explain", "Say why a path looks as it does", kExplainHelp, [words] { return explain(*words); });
  command->add_option("PATH", words->path, "A path in a mount, or a repository")->required()->type_name("PATH|REPO");
  add_json(command, words->json);
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
