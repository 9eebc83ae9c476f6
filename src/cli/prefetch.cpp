// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdio>
#include <thread>

#include "bars.h"
#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"
#include "repo_at.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

constexpr const char* kPrefetchHelp = R"(Brings all files of a revision here, or those of some names, and ends when each of them is verified: then it is
usable offline. What is here is not fetched again; run it again to go on where it stopped. Readers come first.

Examples:
  hffs prefetch openai/whisper-large-v3
  hffs prefetch openai/whisper-tiny@main --exclude '*.bin' --exclude '*.msgpack'
  hffs prefetch datasets/rajpurkar/squad --background        the daemon goes on by itself
  hffs prefetch datasets/rajpurkar/squad --stop
  hffs prefetch https://huggingface.co/openai/whisper-tiny --json)";

// The daemon may be restarted meanwhile.
constexpr std::chrono::seconds kRestart{30};

struct PrefetchArguments {
  std::string repo;
  Globs files;
  bool background = false, stop = false, json = false;
  DaemonName where;
};

volatile std::sig_atomic_t interrupted = 0;

void note_interrupt(int) {
  interrupted = 1;
}

Result<json> order(const PrefetchArguments& words, const RepoAt& what, const std::string& revision) {
  return ask(words.where,
             {{"command", "prefetch"}, {"repo", what.repo.text()}, {"revision", revision},
              {"include", words.files.include}, {"exclude", words.files.exclude}, {"stays", words.background}},
             kLongAnswer);
}

// Until it has ended. Where the daemon has begun anew, it is told again.
Result<json> follow(const PrefetchArguments& words, const RepoAt& what, json begun) {
  Bars bars;
  const std::string commit = begun.at("commit");
  auto heard = std::chrono::steady_clock::now();
  while (true) {
    const json job = begun.at("job");
    auto state = ask(words.where, {{"command", "prefetch-progress"}, {"job", job}});
    const auto now = std::chrono::steady_clock::now();
    if (interrupted != 0) {
      (void)ask(words.where, {{"command", "prefetch-cancel"}, {"job", job}});
      return fail(Code::cancelled, "interrupted; what came stays, run it again to go on");
    }
    if (!state) {
      if (now - heard > kRestart) return state;
      std::this_thread::sleep_for(kPause * 5);
      // A daemon that was restarted has no order of this number.
      if (state.error().code == Code::not_found)
        if (auto again = order(words, what, commit)) begun = std::move(*again);
      continue;
    }
    heard = now;
    if (!state->at("running").get<bool>()) return state;
    std::vector<Bars::Line> lines;
    for (const json& file : state->at("active"))
      lines.push_back({.name = printable(file.at("path").get<std::string>()),
                       .here = file.at("here"),
                       .size = file.at("size"),
                       .note = file.at("verifying").get<bool>() ? "verifying"
                               : file.at("trouble").is_string() ? printable(file.at("trouble").get<std::string>())
                                                                : ""});
    bars.show(lines, {.files_done = state->at("files_done"),
                      .files = state->at("files"),
                      .bytes_done = state->at("bytes_done"),
                      .bytes = state->at("bytes")});
    std::this_thread::sleep_for(kPause);
  }
}

Result<void> judge_prefetch(const json& state, const std::string& path, bool as_json) {
  const json& failed = state.at("failed");
  if (as_json) {
    json report = state;
    report["path"] = path;
    report.erase("active");
    report.erase("job");
    report.erase("running");
    fmt::print("{}\n", pretty_json(report));
  } else {
    for (const json& file : failed)
      fmt::print(stderr, "missing {}: {}\n", printable(file.at("path").get<std::string>()),
                 printable(file.at("message").get<std::string>()));
    fmt::print("{}: {} of {} files ({}) are here and verified\n", path, state.at("files_done").get<std::uint64_t>(),
               state.at("files").get<std::uint64_t>(), bytes_text(state.at("bytes_done").get<std::uint64_t>()));
  }
  if (failed.empty()) {
    if (state.at("files_done") == state.at("files")) return {};
    return fail(Code::cancelled, "the prefetch was ended before all came; run it again to go on");
  }
  const std::string remedy = failed.front().at("remedy");
  return fail(code_named(failed.front().at("code").get<std::string>()).value_or(Code::io),
              "{} files could not be had, the first for: {}{}{}", state.at("files_failed").get<std::uint64_t>(),
              failed.front().at("message").get<std::string>(), remedy.empty() ? "" : "; ", remedy);
}

// Those of one's own; root's command ends everybody's.
Result<void> stop_orders(const PrefetchArguments& words, const RepoAt& what) {
  auto activity = ask(words.where, {{"command", "activity"}});
  if (!activity) return fail(activity);
  std::size_t stopped = 0;
  for (const json& each : activity->at("prefetches")) {
    if (!each.at("running").get<bool>() || each.at("repo") != what.repo.text()) continue;
    auto ended = ask(words.where, {{"command", "prefetch-cancel"}, {"job", each.at("job")}});
    if (!ended) return fail(ended);
    ++stopped;
  }
  if (stopped == 0) return fail(Code::not_found, "no prefetch of {} is under way", what.repo.text());
  if (words.json) fmt::print("{}\n", json_text({{"stopped", stopped}}));
  else
    fmt::print("{} {} stopped; what came stays\n", stopped, stopped == 1 ? "prefetch" : "prefetches");
  return {};
}

Result<void> prefetch(const PrefetchArguments& words) {
  const auto what = parse_repo_at(words.repo);
  if (!what) return fail(Error(what.error()));
  if (words.stop) return stop_orders(words, *what);
  auto begun = order(words, *what, what->revision);
  if (!begun) return fail(begun);
  const std::string path = begun->at("path");
  if (words.background) {
    if (words.json) fmt::print("{}\n", pretty_json(*begun));
    else
      fmt::print("{} files of {} are being fetched; `hffs top` shows how far it is\n",
                 begun->at("files").get<std::uint64_t>(), path);
    return {};
  }
  for (const int number : {SIGINT, SIGTERM}) ::signal(number, &note_interrupt);
  auto state = follow(words, *what, std::move(*begun));
  if (!state) return fail(state);
  return judge_prefetch(*state, path, words.json);
}

}  // namespace

void add_prefetch(CommandTable& table) {
  auto words = std::make_shared<PrefetchArguments>();
  auto* command = table.add("prefetch", "Bring a repository here, whole and verified", kPrefetchHelp,
                            [words] { return prefetch(*words); });
  add_repo(command, words->repo);
  add_globs(command, words->files);
  command->add_flag("--background", words->background, "Do not wait; the daemon goes on by itself");
  command->add_flag("--stop", words->stop, "End what was begun of it in the background");
  add_json(command, words->json);
  add_daemon(command, words->where);
}

}  // namespace hffs::cli
