// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "commands.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

// Terabytes are removed meanwhile.
constexpr std::chrono::minutes kLongest{30};
// The Hub may have to be asked for the revision.
constexpr std::chrono::minutes kQuestion{1};

std::uint64_t count(const json& of, const char* name) {
  return of.at(name).get<std::uint64_t>();
}

json request_of(const char* command, const std::string& target) {
  const std::size_t at = target.find('@');
  json request{{"command", command}, {"repo", target.substr(0, at)}};
  if (at != target.npos) request["revision"] = target.substr(at + 1);
  return request;
}

std::string name_of(const json& pin) {
  const std::string repo = pin.at("repo");
  const json& commit = pin.at("commit");
  return commit.is_null() ? repo : fmt::format("{}@{}", repo, commit.get<std::string>());
}

void print_gc(const json& done) {
  const bool dry = done.at("dry_run");
  for (const json& blob : done.at("blobs"))
    fmt::print("{:>10}  {}\n", bytes_text(count(blob, "size")), blob.at("name").get<std::string>());
  if (done.at("blobs").size() < count(done, "evicted_blobs"))
    fmt::print("            … and {} more\n",
               count(done, "evicted_blobs") - done.at("blobs").size());
  fmt::print("{} {} in {} blobs; {} used", dry ? "would evict" : "evicted",
             bytes_text(count(done, "evicted_bytes")), count(done, "evicted_blobs"),
             bytes_text(count(done, "used_bytes")));
  if (count(done, "max_size") != 0) fmt::print(" of {}", bytes_text(count(done, "max_size")));
  fmt::print("\n");
  if (count(done, "open_bytes") != 0)
    fmt::print("{} stay, for they are open\n", bytes_text(count(done, "open_bytes")));
  if (count(done, "pinned_bytes") != 0)
    fmt::print("{} stay, for they are pinned\n", bytes_text(count(done, "pinned_bytes")));
  if (count(done, "only_copy_bytes") != 0)
    fmt::print("{} stay, for they were imported and no Hub is known to have them; --imported "
               "evicts them, too\n",
               bytes_text(count(done, "only_copy_bytes")));
  if (count(done, "over_bytes") != 0)
    fmt::print("still {} above the limits: what is left is open, pinned or the only copy\n",
               bytes_text(count(done, "over_bytes")));
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
             done->at("revision").get<std::string>(), done->at("repo").get<std::string>(),
             done->at("commit").get<std::string>(), whom(*done));
  return {};
}

Result<void> thaw(const PinArguments& arguments) {
  const json request{{"command", "thaw"},
                     {"repo", arguments.repo},
                     {"revision", arguments.ref},
                     {"all", arguments.all}};
  auto done = ask(arguments.where, request);
  if (!done) return fail(done);
  fmt::print("refs/{} of {} reads what the Hub says again for {}\n",
             done->at("revision").get<std::string>(), done->at("repo").get<std::string>(),
             whom(*done));
  return {};
}

}  // namespace

Result<void> collect(const CollectArguments& arguments) {
  const json request{{"command", "gc"},
                     {"repo", arguments.repo},
                     {"unreferenced", arguments.unreferenced},
                     {"imported", arguments.imported},
                     {"dry_run", arguments.dry_run}};
  auto done = ask(arguments.where, request, kLongest);
  if (!done) return fail(done);
  if (arguments.json)
    fmt::print("{}\n", done->dump(2));
  else
    print_gc(*done);
  return {};
}

Result<void> pin(const PinArguments& arguments) {
  if (!arguments.ref.empty()) return freeze(arguments);
  auto done = ask(arguments.where, request_of("pin", arguments.repo), kQuestion);
  if (!done) return fail(done);
  fmt::print("pinned {}\n", name_of(*done));
  return {};
}

Result<void> unpin(const PinArguments& arguments) {
  if (!arguments.ref.empty()) return thaw(arguments);
  auto done = ask(arguments.where, request_of("unpin", arguments.repo), kQuestion);
  if (!done) return fail(done);
  fmt::print("unpinned {}\n", name_of(*done));
  return {};
}

Result<void> pins(const PinsArguments& arguments) {
  auto answer = ask(arguments.where, {{"command", "pins"}});
  if (!answer) return fail(answer);
  if (arguments.json) {
    fmt::print("{}\n", answer->dump(2));
    return {};
  }
  for (const json& pin : answer->at("pins"))
    fmt::print("{}  {}\n", day_text(pin.at("since").get<std::int64_t>()), name_of(pin));
  for (const json& ref : answer->at("frozen"))
    fmt::print("{}  {}  refs/{} for {}\n", day_text(ref.at("since").get<std::int64_t>()), name_of(ref),
               ref.at("revision").get<std::string>(),
               ref.at("user").is_null() ? "everybody"
                                        : fmt::format("user {}", ref.at("user").get<std::uint32_t>()));
  return {};
}

}  // namespace hffs::cli
