// SPDX-License-Identifier: Apache-2.0
#include "prefetch_commands.h"

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
  if (found->is_array() && found->size() > DownloadCommand::kMostPatterns)
    return fail(Code::invalid, "'{}' has more than {} patterns", name, DownloadCommand::kMostPatterns);
  if (!found->is_array()) return fail(Code::invalid, "'{}' must be a list", name);
  for (const json& each : *found) {
    if (!each.is_string()) return fail(Code::invalid, "'{}' must be a list of texts", name);
    list.push_back(each.get<std::string>());
  }
  return list;
}

json to_json(const PrefetchQueue::State& state) {
  return {{"job", state.number},       {"repo", state.repo.text()}, {"commit", state.commit.hex()},
          {"uid", state.user},         {"stays", state.stays},      {"running", state.running},
          {"files", state.files},      {"files_done", state.files_done},
          {"files_failed", state.files_failed},
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

  order(parts_, Caller{peer.uid, peer.gid, peer.pid}, {*repo, *revision, {std::move(*include), std::move(*exclude)}}, *stays,
        std::move(done));
}

void PrefetchCommands::entered(const Caller& caller, const RepoId& repo) const {
  if (!watch_->is_new(caller, repo)) return;
  const auto queue = parts_->queue.lock();
  if (!queue) return;
  queue->run([parts = parts_, watch = watch_, caller, repo] {
    auto command = watch->find(caller, repo);
    if (!command) return;
    log(Level::info, "prefetch", "uid={} pid={} downloads {}@{}: it is brought here", caller.uid, caller.pid, repo.text(),
        command->revision);
    order(parts, caller, std::move(*command), true, [repo](Result<json> begun) {
      if (!begun) log(Level::warn, "prefetch", "{} is not brought here: {}", repo.text(), begun.error().message);
    });
  });
}

// Listing and choosing take as long as a tree is large.
void PrefetchCommands::order(std::shared_ptr<const Parts> parts, const Caller& caller, DownloadCommand what, bool stays,
                             Done<json> done) {
  const auto queue = parts->queue.lock();
  if (!queue) return done(fail(Code::cancelled, "the daemon is ending"));
  queue->run([parts = std::move(parts), caller, what = std::move(what), stays, done = std::move(done)]() mutable {
    const auto catalog = parts->catalog.lock();
    if (!catalog) return done(fail(Code::cancelled, "the daemon is ending"));
    const Asking asking(std::make_shared<Asker>(caller));
    find_commit(catalog, caller, what.repo, what.revision,
                [parts, caller, what, stays, done = std::move(done)](Result<CommitId> commit) mutable {
                  if (!commit) return done(fail(commit));
                  const auto known = parts->catalog.lock();
                  if (!known) return done(fail(Code::cancelled, "the daemon is ending"));
                  const Asking still(std::make_shared<Asker>(caller));
                  known->ask_tree(what.repo, *commit,
                                  [parts, caller, what, stays, commit = *commit,
                                   done = std::move(done)](Result<WholeTree> tree) mutable {
                                    const auto waiting = parts->queue.lock();
                                    if (!waiting) return done(fail(Code::cancelled, "the daemon is ending"));
                                    waiting->run([parts, caller, what, stays, commit, tree = std::move(tree),
                                                  done = std::move(done)]() mutable {
                                      // A folder's word is as good where the Hub cannot be heard.
                                      if (!tree && tree.error().code != Code::not_found) {
                                        auto said = Versions(parts->store).tree(what.repo, commit);
                                        if (said && said->self_attested) tree = std::move(said);
                                      }
                                      if (!tree) return done(fail(tree));
                                      add(*parts,
                                          {.repo = what.repo, .commit = commit, .files = std::move(tree->files),
                                           .globs = std::move(what.files), .who = caller, .stays = stays},
                                          std::move(done));
                                    });
                                  });
                });
  });
}

void PrefetchCommands::add(const Parts& parts, PrefetchOrder order, Done<json> done) {
  std::erase_if(order.files, [&](const TreeFile& file) { return !order.globs.takes(file.path); });
  json answer{{"repo", order.repo.text()},
              {"commit", order.commit.hex()},
              {"files", order.files.size()},
              {"path", fmt::format("{}/{}/snapshots/{}", parts.mount_point, order.repo.layout(), order.commit.hex())}};
  if (order.files.empty())
    return done(fail(Code::not_found, "{}@{} has no file of such a name", order.repo.text(), order.commit.hex().substr(0, 12)));
  const auto queue = parts.queue.lock();
  if (!queue) return done(fail(Code::cancelled, "the daemon is ending"));
  auto job = queue->add(std::move(order));
  if (!job) return done(fail(job));
  answer["job"] = *job;
  done(std::move(answer));
}

Result<PrefetchQueue::State> PrefetchCommands::find(const Peer& peer, const json& request) const {
  const auto number = number_of(request, "job");
  if (!number) return fail(Error(number.error()));
  const auto queue = parts_->queue.lock();
  auto state = queue ? queue->look(*number, peer.owner ? std::nullopt : std::optional(peer.uid)) : std::nullopt;
  if (!state) return fail(Code::not_found, "there is no prefetch of this number");
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
  const auto queue = parts_->queue.lock();
  return json{{"cancelled", queue && queue->cancel(state->number)}};
}

json PrefetchCommands::list(const Peer& peer) const {
  json list = json::array();
  const auto queue = parts_->queue.lock();
  if (!queue) return list;
  for (const PrefetchQueue::State& state : queue->list())
    if (state.user == peer.uid || peer.owner) list.push_back(to_json(state));
  return list;
}

}  // namespace hffs
