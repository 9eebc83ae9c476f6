// SPDX-License-Identifier: Apache-2.0
#include "suggestion.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace hffs::cli {
namespace {

std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t kept = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({kept, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

// Further away it is no typing mistake.
constexpr std::size_t kNear = 3;
// Of the index, which may be large.
constexpr int kMostPages = 20;

struct Nearest {
  std::string_view given;
  std::size_t least = kNear;
  std::string name;
  void look_at(const std::string& other) {
    const std::size_t distance = edit_distance(given, other);
    if (distance >= least) return;
    least = distance;
    name = other;
  }
};

}  // namespace

std::unexpected<Error> unknown_command(const CLI::App& app, std::string_view given) {
  Nearest nearest{.given = given, .name = {}};
  for (const auto* command : app.get_subcommands(nullptr))
    if (!command->get_group().empty()) nearest.look_at(command->get_name());  // else it is for scripts
  if (nearest.name.empty())
    return fail(Code::invalid, "there is no command '{}'; `hffs --help` lists them", given);
  return fail(Code::invalid, "there is no command '{}'; did you mean 'hffs {}'?", given, nearest.name);
}

std::string suggest_repo(const DaemonName& where, const std::string& given) {
  Nearest nearest{.given = given, .name = {}};
  nlohmann::json from = 0;
  for (int page = 0; page < kMostPages && !from.is_null(); ++page) {
    auto answer = ask(where, {{"command", "names"}, {"from", from}});
    if (!answer) break;
    for (const auto& name : answer->at("names")) nearest.look_at(name.get<std::string>());
    from = answer->at("next");
  }
  return nearest.name.empty() || nearest.name == given ? "" : fmt::format("; did you mean {}?", nearest.name);
}

}  // namespace hffs::cli
