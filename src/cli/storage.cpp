// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <ctime>

#include "commands.h"
#include "progress.h"

namespace hffs::cli {
namespace {

using nlohmann::json;

// Terabytes are removed meanwhile.
constexpr std::chrono::minutes kLongest{30};

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

void print_for_people(const json& done) {
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
  if (count(done, "over_bytes") != 0)
    fmt::print("still {} above the limits: what is left is open or pinned\n",
               bytes_text(count(done, "over_bytes")));
}

}  // namespace

Result<void> collect(const CollectArguments& arguments) {
  const json request{{"command", "gc"},
                     {"repo", arguments.repo},
                     {"unreferenced", arguments.unreferenced},
                     {"dry_run", arguments.dry_run}};
  auto done = ask(arguments.where, request, kLongest);
  if (!done) return fail(done);
  if (arguments.json)
    fmt::print("{}\n", done->dump(2));
  else
    print_for_people(*done);
  return {};
}

Result<void> pin(const PinArguments& arguments) {
  // The Hub may have to be asked for the revision.
  auto done = ask(arguments.where, request_of("pin", arguments.repo), std::chrono::minutes(1));
  if (!done) return fail(done);
  fmt::print("pinned {}\n", name_of(*done));
  return {};
}

Result<void> unpin(const PinArguments& arguments) {
  auto done = ask(arguments.where, request_of("unpin", arguments.repo), std::chrono::minutes(1));
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
  for (const json& pin : answer->at("pins")) {
    const auto since = static_cast<std::time_t>(pin.at("since").get<std::int64_t>());
    std::tm day{};
    ::localtime_r(&since, &day);
    fmt::print("{:04}-{:02}-{:02}  {}\n", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday,
               name_of(pin));
  }
  return {};
}

}  // namespace hffs::cli
