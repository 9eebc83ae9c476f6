// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"

namespace hffs::cli {
namespace {

constexpr const char* kStatusHelp = R"(Examples:
  hffs status                              the daemon of the default state directory
  hffs status ~/hf                         the daemon that serves ~/hf
  hffs status --json | jq .store.bytes)";

struct StatusArguments {
  std::string mount_point;  // empty: the daemon of the state directory
  bool json = false;
  Flags flags;
};

using nlohmann::json;

constexpr std::size_t kMostFailures = 3;  // the newest; `hffs top` shows more

void row(std::string_view name, std::string_view text) {
  fmt::print("{:<12} {}\n", name, printable(text));
}

void print_scrub(const json& scrub) {
  const auto number = [&](const char* name) { return scrub.at(name).get<std::int64_t>(); };
  std::string text = "off";
  if (number("period_seconds") != 0) {
    text = fmt::format("all within {}",
                       duration_text(static_cast<std::uint64_t>(number("period_seconds"))));
    if (number("done_bytes") != 0 && number("bytes") != 0)
      text += fmt::format("; {} % of this pass", 100 * number("done_bytes") / number("bytes"));
    if (number("found") != 0) text += fmt::format("; {} damaged files found", number("found"));
  }
  row("scrub", text);
  for (const json& finding : scrub.at("recent_findings")) print_finding(finding);
}

void print_budget(const json& budget) {
  const auto over = budget.at("users_over").get<std::uint64_t>();
  if (over == 0) return;
  row("budget", fmt::format("{} {} over it: what is not here is refused to them", over,
                            over == 1 ? "user is" : "users are"));
  for (const json& user : budget.at("users"))
    if (user.at("over").is_string())
      row("", fmt::format("user {}: {} within 24 hours, {} questions within one; {} is reached",
                          user.at("uid").get<std::uint64_t>(),
                          bytes_text(user.at("bytes").get<std::uint64_t>()),
                          user.at("requests").get<std::uint64_t>(),
                          user.at("over").get<std::string>()));
}

void print_status(const json& status) {
  const json& store = status.at("store");
  const json& catalog = status.at("catalog");
  const json& transfer = status.at("transfer");
  row("mounted at", status.at("mount_point").get<std::string>());
  row("version", fmt::format("{}, process {}, up for {}", status.at("version").get<std::string>(),
                             count_in(status, "pid"), duration_text(count_in(status, "uptime_seconds"))));
  if (const auto restarts = count_in(status.at("worker"), "restarts"); restarts != 0)
    row("restarts", fmt::format("{} of the worker since it was mounted; the log says why", restarts));
  row("state", status.at("state_dir").get<std::string>());
  for (const json& endpoint : status.at("endpoints")) {
    const std::string error = endpoint.at("last_error");
    row("endpoint", fmt::format("{} {}{}{}", endpoint.at("endpoint").get<std::string>(),
                                endpoint.at("up").get<bool>() ? "up" : "down",
                                error.empty() ? "" : ": ", error));
  }
  if (status.at("offline").get<bool>()) row("network", "off: offline mode");
  if (status.at("anonymous").get<bool>()) row("tokens", "none is sent, as `anonymous` says: only what is public is there");
  row("here", fmt::format("{} in {} blobs, {} of them whole and verified; {} free",
                          bytes_text(count_in(store, "bytes") + count_in(store, "unclaimed_bytes")),
                          count_in(store, "blobs"), count_in(store, "verified_blobs"),
                          bytes_text(count_in(store, "free_bytes"))));
  std::string limits = fmt::format("{} stay free", bytes_text(count_in(store, "min_free")));
  if (count_in(store, "max_size") != 0)
    limits = fmt::format("{} of {} used; {}", bytes_text(count_in(store, "used_bytes")),
                         bytes_text(count_in(store, "max_size")), limits);
  if (count_in(store, "pinned_bytes") != 0)
    limits += fmt::format("; {} pinned", bytes_text(count_in(store, "pinned_bytes")));
  if (count_in(store, "only_copy_bytes") != 0)
    limits += fmt::format("; {} kept, for they were imported and no Hub is known to have them",
                          bytes_text(count_in(store, "only_copy_bytes")));
  if (count_in(store, "unlinked_bytes") != 0)
    limits += fmt::format("; {} more in removed files that are still open",
                          bytes_text(count_in(store, "unlinked_bytes")));
  row("limits", limits);
  for (const json& damage : store.at("damages")) row("damaged", damage.get<std::string>());
  if (const auto lost = count_in(status.at("metrics"), "blobs_lost"); lost != 0)
    row("lost", fmt::format("{} blobs whose files were gone or too short; they are fetched again", lost));
  print_scrub(status.at("scrub"));
  print_budget(status.at("budget"));
  row("known", fmt::format("{} repositories, {} commits, {} files", count_in(catalog, "repos"),
                           count_in(catalog, "commits"), count_in(catalog, "files")));
  if (count_in(catalog, "self_attested") != 0)
    row("unconfirmed", fmt::format("{} commits that were imported, and that the Hub has not listed yet",
                                   count_in(catalog, "self_attested")));
  std::size_t told = 0;
  for (const json& failure : status.at("failures"))
    if (told++ < kMostFailures)
      row("failed", fmt::format("{} of {} by user {}: {}; {}", text_in(failure, "operation"), text_in(failure, "what"),
                                count_in(failure, "uid"), text_in(failure, "message"), text_in(failure, "remedy")));
  row("now", fmt::format("{} readers wait, {} requests under way", count_in(transfer, "waiters"),
                         count_in(transfer, "requests")));
  row("reads", fmt::format("{}: {}", status.at("mode").get<std::string>(),
                           status.at("mode_reason").get<std::string>()));
}

Result<void> status(const StatusArguments& arguments) {
  const auto answer = ask({arguments.mount_point, arguments.flags}, {{"command", "status"}});
  if (!answer) return fail(Error(answer.error()));
  const json& parsed = *answer;
  if (arguments.json)
    fmt::print("{}\n", pretty_json(parsed));
  else
    print_status(parsed);
  return {};
}

}  // namespace

void add_status(CommandTable& table) {
  auto words = std::make_shared<StatusArguments>();
  auto* command = table.add("status", "Say how a daemon is", kStatusHelp, [words] { return status(*words); });
  command->add_option("MNT", words->mount_point, "Where hffs is mounted");
  add_json(command, words->json);
  add_state_dir(command, words->flags);
}

}  // namespace hffs::cli
