// SPDX-License-Identifier: Apache-2.0
#include "job.h"

#include <thread>

#include "ask.h"
#include "hffs/json_text.h"
#include "hffs/telemetry.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;
constexpr std::chrono::seconds kJobAnswer{30};

Result<json> ask_through(Conversation& conversation, const json& request, UniqueFd given = {}) {
  auto answer = conversation.ask(json_text(request), kJobAnswer, std::move(given));
  if (!answer) return fail(answer);
  return parse_json(*answer);
}

Result<json> follow(Conversation& conversation, json look) {
  Progress progress;
  Result<json> answer;
  while (true) {
    answer = ask_through(conversation, look);
    if (!answer || !answer->at("running").get<bool>()) break;
    progress.show(answer->at("doing"), answer->at("files_done"), answer->at("files"),
                  answer->at("bytes_done"), answer->at("bytes"));
    std::this_thread::sleep_for(kPause);
  }
  progress.clear();
  if (!answer) return answer;
  json report = *answer;
  while (!answer->at("next").is_null()) {
    look["from"] = answer->at("next");
    if (answer = ask_through(conversation, look); !answer) return answer;
    for (auto& [name, list] : report.items())
      if (list.is_array()) list.insert(list.end(), answer->at(name).begin(), answer->at(name).end());
  }
  return report;
}

}  // namespace

Result<json> run_job(Conversation& conversation, const json& request, UniqueFd given) {
  auto started = ask_through(conversation, request, std::move(given));
  if (!started) return started;
  return follow(conversation, {{"command", request.at("command").get<std::string>() + "-progress"},
                               {"job", started->at("job")}});
}

Result<json> run_job(const Flags& flags, const json& request, UniqueFd given) {
  auto config = load_config(flags, process_environment());
  if (!config) return fail(config);
  start_log(Level::warn, "");
  auto conversation = Conversation::open(*config);
  if (!conversation) return fail(conversation);
  return run_job(**conversation, request, std::move(given));
}

}  // namespace hffs::cli
