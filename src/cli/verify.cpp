// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "job.h"
#include "progress.h"
#include "repo_at.h"
#include "suggestion.h"

namespace hffs::cli {
namespace {

constexpr const char* kVerifyHelp = R"(Reads whatever is here whole, and hashes it again. What is damaged is put aside, and fetched again
when it is read; programs that have it open may go on with what they have. The daemon does so by
itself, slowly: see `scrub` in the configuration file.

Examples:
  hffs verify                              all that is here
  hffs verify openai/whisper-tiny
  hffs verify openai/whisper-tiny@main --json | jq .findings

Exit codes: 10 if a file was damaged, 12 if one could not be read.)";


struct VerifyArguments {
  std::string repo;  // "REPO" or "REPO@REVISION"; empty: all
  bool json = false;
  Flags flags;
};

using nlohmann::json;

std::string text_or(const json& of, const char* name, const char* otherwise) {
  return of.at(name).is_string() ? text_in(of, name) : otherwise;
}

}  // namespace

void print_finding(const json& finding) {
  const std::string commit = text_in(finding, "commit");
  fmt::print("{}{}{}: {}: {}\n", text_or(finding, "repo", "no repository"), commit.empty() ? "" : "@", commit.substr(0, 12),
             text_or(finding, "path", "a blob"), text_in(finding, "what"));
  fmt::print("  expected  {}\n", text_in(finding, "blob"));
  if (finding.at("found").is_string())
    fmt::print("  found     {}\n", text_in(finding, "found"));
  else
    fmt::print("  {}\n", text_in(finding, "reason"));
}

namespace {

Result<void> verify(const VerifyArguments& arguments) {
  json request{{"command", "verify"}, {"repo", ""}};
  if (!arguments.repo.empty()) {
    const auto what = parse_repo_at(arguments.repo);
    if (!what) return fail(Error(what.error()));
    request["repo"] = what->repo.text();
    // Without one: all that is here of the repository, not just what its main branch has.
    if (what->names_revision) request["revision"] = what->revision;
  }
  auto done = run_job(arguments.flags, request);
  if (!done && done.error().code == Code::not_found && !arguments.repo.empty())
    done.error().message += suggest_repo({.mount_point = {}, .flags = arguments.flags}, request.at("repo").get<std::string>());
  if (!done) return fail(done);
  const json& findings = done->at("findings");
  std::size_t unreadable = 0;
  for (const json& each : findings) unreadable += each.at("what") == "unreadable" ? 1 : 0;
  const std::size_t wrong = findings.size() - unreadable;
  if (arguments.json) {
    const json report{{"files", done->at("files")},
                      {"bytes", done->at("bytes")},
                      {"findings", findings}};
    fmt::print("{}\n", pretty_json(report));
  } else {
    for (const json& each : findings) print_finding(each);
    fmt::print("{} files ({}) verified, {} of them damaged\n",
               done->at("files").get<std::uint64_t>(),
               bytes_text(done->at("bytes").get<std::uint64_t>()), findings.size());
  }
  if (wrong != 0)
    return fail(Code::corrupt,
                "{} files were damaged, and were put aside: they are fetched again when they are read",
                wrong);
  if (unreadable != 0)
    return fail(Code::io, "the disk could not read {} files; they stay as they are", unreadable);
  return {};
}

}  // namespace

void add_verify(CommandTable& table) {
  auto words = std::make_shared<VerifyArguments>();
  auto* command = table.add("verify", "Hash again what is here, and put aside what is damaged", kVerifyHelp,
                            [words] { return verify(*words); });
  command->add_option("REPO", words->repo, "ORG/NAME or datasets/ORG/NAME, and @REVISION; all");
  add_json(command, words->json);
  add_state_dir(command, words->flags);
}

}  // namespace hffs::cli
