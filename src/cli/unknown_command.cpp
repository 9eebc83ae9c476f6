// SPDX-License-Identifier: Apache-2.0
#include "unknown_command.h"

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

}  // namespace

std::unexpected<Error> unknown_command(const CLI::App& app, std::string_view given) {
  std::string nearest;
  std::size_t least = 3;  // further away it is no typing mistake
  for (const auto* command : app.get_subcommands(nullptr)) {
    const std::size_t distance = edit_distance(given, command->get_name());
    if (distance < least) {
      least = distance;
      nearest = command->get_name();
    }
  }
  if (nearest.empty())
    return fail(Code::invalid, "there is no command '{}'; `hffs --help` lists them", given);
  return fail(Code::invalid, "there is no command '{}'; did you mean 'hffs {}'?", given, nearest);
}

}  // namespace hffs::cli
