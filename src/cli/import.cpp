// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "job.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

void print_import(const json& report) {
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
  auto done = run_job(arguments.flags, request);
  if (!done) return fail(done);
  const json report{{"commits", done->at("commits")},
                    {"skipped", done->at("skipped")},
                    {"remarks", done->at("remarks")}};
  if (arguments.json)
    fmt::print("{}\n", report.dump(2, ' ', false, json::error_handler_t::replace));
  else
    print_import(report);
  return judge(report);
}

}  // namespace hffs::cli
