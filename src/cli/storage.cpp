// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "command_table.h"
#include "commands.h"
#include "hffs/json_text.h"
#include "progress.h"
#include "repo_at.h"

namespace hffs::cli {
namespace {

constexpr const char* kCollectHelp = R"(Without REPO: what was open longest ago goes, until the limits (--max-size, --min-free of `hffs
mount`) hold; the daemon does so by itself when it needs room. With REPO: all of it goes, but what
is open or pinned. What went is fetched again when it is read again; what was imported and cannot be
fetched, since no Hub has confirmed it, stays unless --imported is given.

Examples:
  hffs gc --dry-run                        what would go
  hffs gc openai/whisper-large-v3          room by hand
  hffs gc --unreferenced                   what no branch, tag or pull request has any more)";


constexpr const char* kPinHelp = R"(What is pinned is never evicted; it need not be here yet. A revision is pinned as the commit that
it names now. `hffs pins` lists them, `hffs unpin REPO[@REVISION]` ends it.

Examples:
  hffs pin DeepFloyd/t5-v1_1-xxl
  hffs pin datasets/rajpurkar/squad@main
  hffs pin openai/whisper-tiny@169d4a4 --ref main    refs/main stays there, for you
  hffs unpin openai/whisper-tiny --ref main)";


constexpr const char* kUnpinHelp = R"(Without @REVISION all pins of the repository end.

Examples:
  hffs unpin DeepFloyd/t5-v1_1-xxl)";


struct CollectArguments {
  std::string repo;  // empty: only what the limits demand
  bool unreferenced = false, imported = false, dry_run = false, json = false;
  DaemonName where;
};

struct PinArguments {
  std::string repo;  // "REPO" or "REPO@REVISION"
  std::string ref;   // not empty: what this ref reads is frozen
  bool all = false;  // … for everybody
  DaemonName where;
};

struct PinsArguments {
  bool json = false;
  DaemonName where;
};

using nlohmann::json;

// Terabytes are removed meanwhile.
constexpr std::chrono::minutes kLongest{30};
// The Hub may have to be asked for the revision.
constexpr std::chrono::minutes kQuestion{1};

Result<json> request_of(const char* command, const std::string& target) {
  const auto what = parse_repo_at(target);
  if (!what) return fail(Error(what.error()));
  json request{{"command", command}, {"repo", what->repo.text()}};
  if (what->names_revision) request["revision"] = what->revision;
  return request;
}

Result<json> ask_about(const char* command, const PinArguments& arguments) {
  auto request = request_of(command, arguments.repo);
  if (!request) return request;
  return ask(arguments.where, *request, kQuestion);
}

std::string name_of(const json& pin) {
  const std::string repo = text_in(pin, "repo"), commit = text_in(pin, "commit");
  return commit.empty() ? repo : fmt::format("{}@{}", repo, commit);
}

void print_gc(const json& done) {
  const bool dry = done.at("dry_run");
  for (const json& blob : done.at("blobs"))
    fmt::print("{:>10}  {}\n", bytes_text(count_in(blob, "size")), text_in(blob, "name"));
  if (done.at("blobs").size() < count_in(done, "evicted_blobs"))
    fmt::print("            … and {} more\n",
               count_in(done, "evicted_blobs") - done.at("blobs").size());
  fmt::print("{} {} in {} blobs; {} used", dry ? "would evict" : "evicted",
             bytes_text(count_in(done, "evicted_bytes")), count_in(done, "evicted_blobs"),
             bytes_text(count_in(done, "used_bytes")));
  if (count_in(done, "max_size") != 0) fmt::print(" of {}", bytes_text(count_in(done, "max_size")));
  fmt::print("\n");
  if (count_in(done, "open_bytes") != 0)
    fmt::print("{} stay, for they are open\n", bytes_text(count_in(done, "open_bytes")));
  if (count_in(done, "pinned_bytes") != 0)
    fmt::print("{} stay, for they are pinned\n", bytes_text(count_in(done, "pinned_bytes")));
  if (count_in(done, "only_copy_bytes") != 0)
    fmt::print("{} stay, for they were imported and no Hub is known to have them; --imported "
               "evicts them, too\n",
               bytes_text(count_in(done, "only_copy_bytes")));
  if (count_in(done, "over_bytes") != 0)
    fmt::print("still {} above the limits: what is left is open, pinned or the only copy\n",
               bytes_text(count_in(done, "over_bytes")));
}

std::string whom(const json& done) {
  return done.at("all").get<bool>() ? "everybody" : "you";
}

Result<void> freeze(const PinArguments& arguments) {
  const auto what = parse_repo_at(arguments.repo);
  if (!what) return fail(Error(what.error()));
  const json request{{"command", "freeze"},
                     {"repo", what->repo.text()},
                     {"commit", what->revision},
                     {"revision", arguments.ref},
                     {"all", arguments.all}};
  auto done = ask(arguments.where, request, kQuestion);
  if (!done) return fail(done);
  fmt::print("refs/{} of {} reads {} for {}, until `hffs unpin`\n",
             text_in(*done, "revision"), text_in(*done, "repo"), text_in(*done, "commit"), whom(*done));
  return {};
}

Result<void> thaw(const PinArguments& arguments) {
  const auto repo = parse_repo(arguments.repo);
  if (!repo) return fail(Error(repo.error()));
  const json request{{"command", "thaw"},
                     {"repo", repo->text()},
                     {"revision", arguments.ref},
                     {"all", arguments.all}};
  auto done = ask(arguments.where, request);
  if (!done) return fail(done);
  fmt::print("refs/{} of {} reads what the Hub says again for {}\n",
             text_in(*done, "revision"), text_in(*done, "repo"), whom(*done));
  return {};
}

Result<void> collect(const CollectArguments& arguments) {
  std::string repo;
  if (!arguments.repo.empty()) {
    const auto parsed = parse_repo(arguments.repo);
    if (!parsed) return fail(Error(parsed.error()));
    repo = parsed->text();
  }
  const json request{{"command", "gc"},
                     {"repo", repo},
                     {"unreferenced", arguments.unreferenced},
                     {"imported", arguments.imported},
                     {"dry_run", arguments.dry_run}};
  auto done = ask(arguments.where, request, kLongest);
  if (!done) return fail(done);
  if (arguments.json)
    fmt::print("{}\n", pretty_json(*done));
  else
    print_gc(*done);
  return {};
}

Result<void> pin(const PinArguments& arguments) {
  if (!arguments.ref.empty()) return freeze(arguments);
  auto done = ask_about("pin", arguments);
  if (!done) return fail(done);
  fmt::print("pinned {}\n", name_of(*done));
  return {};
}

Result<void> unpin(const PinArguments& arguments) {
  if (!arguments.ref.empty()) return thaw(arguments);
  auto done = ask_about("unpin", arguments);
  if (!done) return fail(done);
  fmt::print("unpinned {}\n", name_of(*done));
  return {};
}

Result<void> pins(const PinsArguments& arguments) {
  auto answer = ask(arguments.where, {{"command", "pins"}});
  if (!answer) return fail(answer);
  if (arguments.json) {
    fmt::print("{}\n", pretty_json(*answer));
    return {};
  }
  for (const json& pin : answer->at("pins"))
    fmt::print("{}  {}\n", day_text(pin.at("since").get<std::int64_t>()), name_of(pin));
  for (const json& ref : answer->at("frozen"))
    fmt::print("{}  {}  refs/{} for {}\n", day_text(ref.at("since").get<std::int64_t>()), name_of(ref),
               text_in(ref, "revision"),
               ref.at("user").is_null() ? "everybody"
                                        : fmt::format("user {}", ref.at("user").get<std::uint32_t>()));
  return {};
}

}  // namespace

void add_storage(CommandTable& table) {
  auto gc = std::make_shared<CollectArguments>();
  auto* command = table.add("gc", "Make room: evict content that can be fetched again", kCollectHelp,
                            [gc] { return collect(*gc); });
  command->add_option("REPO", gc->repo, "ORG/NAME or datasets/ORG/NAME: all of it");
  command->add_flag("--unreferenced", gc->unreferenced, "All that is in no commit of a branch, tag or pull request");
  command->add_flag("--imported", gc->imported, "Of what is named, also the only copies: they are lost");
  command->add_flag("--dry-run,-n", gc->dry_run, "Only say what would go");
  add_json(command, gc->json);
  add_daemon(command, gc->where);

  auto words = std::make_shared<PinArguments>();
  for (auto* each : {table.add("pin", "Never evict a repository, or a revision of it", kPinHelp,
                               [words] { return pin(*words); }),
                     table.add("unpin", "Let it be evicted again", kUnpinHelp, [words] { return unpin(*words); })}) {
    add_repo(each, words->repo);
    each->add_option("--ref", words->ref, "What this branch or tag reads in the mount: REPO's revision, for you")
        ->type_name("REF");
    each->add_flag("--all", words->all, "With --ref: for everybody")->needs("--ref");
    add_daemon(each, words->where);
  }
  auto list = std::make_shared<PinsArguments>();
  command = table.add("pins", "List what is pinned", "", [list] { return pins(*list); });
  add_json(command, list->json);
  add_daemon(command, list->where);
}

}  // namespace hffs::cli
