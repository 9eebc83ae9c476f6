// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands.h"
#include "hffs/telemetry.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;
constexpr std::chrono::seconds kAnswer{30};
constexpr std::chrono::milliseconds kPause{100};

Result<json> ask(Conversation& conversation, const json& request) {
  auto answer = conversation.ask(request.dump(), kAnswer);
  if (!answer) return fail(answer);
  return json::parse(*answer);
}

void print_for_people(const json& report) {
  for (const json& commit : report.at("commits")) {
    const auto number = [&](const char* name) { return commit.at(name).get<std::uint64_t>(); };
    fmt::print("{}@{}: {} files ({}) taken, {} were here, {} in all{}\n",
               commit.at("repo").get<std::string>(), commit.at("commit").get<std::string>(),
               number("taken_files"), bytes_text(number("taken_bytes")), number("present_files"),
               number("files"),
               commit.at("self_attested").get<bool>()
                   ? fmt::format("; self-attested, for there was no listing of the Hub: {}",
                                 commit.at("reason").get<std::string>())
                   : "");
  }
  for (const json& skipped : report.at("skipped"))
    fmt::print("skipped {} ({}): {}\n", skipped.at("path").get<std::string>(),
               skipped.at("why").get<std::string>(), skipped.at("reason").get<std::string>());
  for (const json& remark : report.at("remarks")) fmt::print("{}\n", remark.get<std::string>());
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

}  // namespace

Result<json> run_import(Conversation& conversation, const json& request) {
  auto started = ask(conversation, request);
  if (!started) return started;
  json look{{"command", "import-progress"}, {"job", started->at("job")}};
  Progress progress;
  Result<json> answer;
  while (true) {
    answer = ask(conversation, look);
    if (!answer || !answer->at("running").get<bool>()) break;
    progress.show(answer->at("doing"), answer->at("files_done"), answer->at("files"),
                  answer->at("bytes_done"), answer->at("bytes"));
    std::this_thread::sleep_for(kPause);
  }
  progress.clear();
  if (!answer) return answer;
  json report{{"commits", json::array()}, {"skipped", json::array()}, {"remarks", json::array()}};
  while (true) {
    for (auto& [name, list] : report.items())
      for (const json& item : answer->at(name)) list.push_back(item);
    if (answer->at("next").is_null()) return report;
    look["from"] = answer->at("next");
    if (answer = ask(conversation, look); !answer) return answer;
  }
}

Result<void> import_folder(const ImportArguments& arguments) {
  std::error_code error;
  const auto path = std::filesystem::absolute(arguments.path, error).lexically_normal();
  json request{{"command", "import"}, {"path", path.string()}};
  // Names in the folder may be anything; the question itself is JSON.
  if (json::parse(request.dump(-1, ' ', false, json::error_handler_t::replace)) != request)
    return fail(Code::unsupported, "the name of the folder is not UTF-8; give it another one");
  if (!arguments.repo.empty()) {
    const auto repo = RepoId::parse_user(arguments.repo);
    if (!repo)
      return fail(Code::invalid, "'{}' is not a repository; write ORG/NAME or datasets/ORG/NAME",
                  arguments.repo);
    request["repo"] = repo->text();
    request["revision"] = arguments.revision.empty() ? "main" : arguments.revision;
  }
  auto config = load_config(arguments.flags, process_environment());
  if (!config) return fail(config);
  start_log(Level::warn, "");
  auto conversation = Conversation::open(*config);
  if (!conversation) return fail(conversation);
  auto report = run_import(**conversation, request);
  if (!report) return fail(report);
  if (arguments.json)
    fmt::print("{}\n", report->dump(2, ' ', false, json::error_handler_t::replace));
  else
    print_for_people(*report);
  return judge(*report);
}

}  // namespace hffs::cli
