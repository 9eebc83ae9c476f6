// SPDX-License-Identifier: Apache-2.0
#include "prefetch_commands.h"

#include <fnmatch.h>

#include <algorithm>
#include <vector>

#include "hffs/telemetry.h"
#include "hffs/versions.h"
#include "request.h"
#include "walk.h"

namespace hffs {
namespace {

using nlohmann::json;

Result<std::vector<std::string>> list_of(const json& request, const char* name) {
  std::vector<std::string> list;
  const auto found = request.find(name);
  if (found == request.end()) return list;
  if (!found->is_array()) return fail(Code::invalid, "'{}' must be a list", name);
  for (const json& each : *found) {
    if (!each.is_string()) return fail(Code::invalid, "'{}' must be a list of texts", name);
    list.push_back(each.get<std::string>());
  }
  return list;
}

// As the Hub's own clients read patterns: * is any text, with slashes too.
bool takes(const DownloadCommand& what, const std::string& path) {
  const auto matches = [&](const std::string& pattern) {
    const std::string whole = pattern.ends_with('/') ? pattern + '*' : pattern;
    return ::fnmatch(whole.c_str(), path.c_str(), 0) == 0;
  };
  if (!what.include.empty() && std::ranges::none_of(what.include, matches)) return false;
  return std::ranges::none_of(what.exclude, matches);
}

json to_json(const PrefetchQueue::State& state) {
  return {{"job", state.number},       {"repo", state.repo.text()}, {"commit", state.commit.hex()},
          {"uid", state.user},         {"stays", state.stays},      {"running", state.running},
          {"files", state.files},      {"files_done", state.files_done},
          {"bytes", state.bytes},      {"bytes_done", state.bytes_done}};
}

}  // namespace

void PrefetchCommands::start(const Peer& peer, const json& request, Done<json> done) const {
  auto name = text_of(request, "repo", std::nullopt);
  if (!name) return done(fail(name));
  auto repo = RepoId::parse_user(*name);
  if (!repo) return done(fail(repo));
  auto wanted = text_of(request, "revision", "main");
  if (!wanted) return done(fail(wanted));
  auto revision = parse_revision(*wanted);
  if (!revision) return done(fail(revision));
  auto include = list_of(request, "include"), exclude = list_of(request, "exclude");
  if (!include) return done(fail(include));
  if (!exclude) return done(fail(exclude));
  const auto stays = switch_of(request, "stays");
  if (!stays) return done(fail(Error(stays.error())));

  order(Caller{peer.uid, peer.gid, peer.pid}, {*repo, *revision, std::move(*include), std::move(*exclude)}, *stays,
        std::move(done));
}

void PrefetchCommands::begin(const Caller& caller, const DownloadCommand& command) const {
  order(caller, command, true, [repo = command.repo](Result<json> begun) {
    if (!begun) log(Level::warn, "prefetch", "{} is not brought here: {}", repo.text(), begun.error().message);
  });
}

void PrefetchCommands::order(const Caller& caller, const DownloadCommand& what, bool stays, Done<json> done) const {
  auto add = [parts = parts_, caller, what, stays, done = std::move(done)](const Result<CommitId>& commit,
                                                                          Result<WholeTree> tree) mutable {
    if (!commit) return done(fail(Error(commit.error())));
    // A folder's word is as good where the Hub cannot be heard.
    if (!tree && tree.error().code != Code::not_found) {
      auto known = Versions(parts->store).tree(what.repo, *commit);
      if (known && known->self_attested) tree = std::move(known);
    }
    if (!tree) return done(fail(tree));
    std::erase_if(tree->files, [&](const TreeFile& file) { return !takes(what, file.path); });
    if (tree->files.empty())
      return done(fail(Code::not_found, "{}@{} has no file of such a name", what.repo.text(), commit->hex().substr(0, 12)));
    const std::size_t files = tree->files.size();
    auto job = parts->queue->add(
        {.repo = what.repo, .commit = *commit, .files = std::move(tree->files), .who = caller, .stays = stays});
    if (!job) return done(fail(job));
    done(json{{"job", *job},
              {"repo", what.repo.text()},
              {"commit", commit->hex()},
              {"files", files},
              {"path", fmt::format("{}/{}/snapshots/{}", parts->mount_point, what.repo.layout(), commit->hex())}});
  };
  find_commit(parts_->catalog, caller, what.repo, what.revision,
              [catalog = parts_->catalog, repo = what.repo, add = std::move(add)](Result<CommitId> commit) mutable {
                if (!commit) return add(commit, WholeTree{});
                catalog->ask_tree(repo, *commit, [commit, add = std::move(add)](Result<WholeTree> tree) mutable {
                  add(commit, std::move(tree));
                });
              });
}

Result<PrefetchQueue::State> PrefetchCommands::find(const Peer& peer, const json& request) const {
  const auto number = number_of(request, "job");
  if (!number) return fail(Error(number.error()));
  auto state = parts_->queue->look(*number);
  if (!state || (state->user != peer.uid && !is_owner(peer)))
    return fail(Code::not_found, "there is no prefetch of this number");
  return std::move(*state);
}

Result<json> PrefetchCommands::look(const Peer& peer, const json& request) const {
  auto state = find(peer, request);
  if (!state) return fail(state);
  json answer = to_json(*state), active = json::array(), failed = json::array();
  for (const auto& file : state->active)
    active.push_back({{"path", file.path},
                      {"size", file.size},
                      {"here", file.here},
                      {"verifying", file.verifying},
                      {"trouble", file.trouble.empty() ? json() : json(file.trouble)}});
  for (const auto& [file, code] : state->failed)
    failed.push_back({{"path", file.path},
                      {"size", file.size},
                      {"code", info(code).name},
                      {"message", file.trouble},
                      {"remedy", info(code).remedy}});
  answer["active"] = std::move(active);
  answer["failed"] = std::move(failed);
  return answer;
}

Result<json> PrefetchCommands::cancel(const Peer& peer, const json& request) const {
  auto state = find(peer, request);
  if (!state) return fail(state);
  return json{{"cancelled", parts_->queue->cancel(state->number)}};
}

json PrefetchCommands::list(const Peer& peer) const {
  json list = json::array();
  for (const PrefetchQueue::State& state : parts_->queue->list())
    if (state.user == peer.uid || is_owner(peer)) list.push_back(to_json(state));
  return list;
}

}  // namespace hffs
