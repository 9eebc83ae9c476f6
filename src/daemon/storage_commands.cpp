// SPDX-License-Identifier: Apache-2.0
#include "storage_commands.h"

#include "request.h"
#include "walk.h"

namespace hffs {
namespace {

// An answer stays far below what a client reads; the numbers count all.
constexpr std::size_t kMostNameBytes = std::size_t{256} << 10;

Result<void> check_owner(const Peer& peer, std::string_view what) {
  if (peer.owner) return {};
  return fail(Code::denied, "only root and the user who started the daemon may {}", what);
}

nlohmann::json to_json(const RepoId& repo, const std::optional<CommitId>& commit) {
  nlohmann::json pin{{"repo", repo.text()}, {"commit", nullptr}};
  if (commit) pin["commit"] = commit->hex();
  return pin;
}

nlohmann::json report(Store& store, Catalog& catalog, const Bounds::Outcome& outcome,
                      bool dry_run) {
  nlohmann::json blobs = nlohmann::json::array();
  std::size_t name_bytes = 0;
  for (const std::uint64_t number : outcome.blobs) {
    if (name_bytes > kMostNameBytes) break;
    const auto blob = store.blob(number);
    if (!blob) continue;
    std::string name = catalog.describe(NodeId::of_blob(number, blob->incarnation));
    name_bytes += name.size();
    blobs.push_back({{"blob", blob->id.hex()}, {"size", blob->size}, {"name", std::move(name)}});
  }
  const Bounds::State state = store.bounds().state();
  return {{"dry_run", dry_run},
          {"evicted_blobs", outcome.blobs.size()},
          {"evicted_bytes", outcome.bytes},
          {"open_bytes", outcome.open_bytes},
          {"pinned_bytes", outcome.pinned_bytes},
          {"only_copy_bytes", outcome.only_copy_bytes},
          {"over_bytes", outcome.over_bytes},
          {"used_bytes", state.used},
          {"max_size", state.max_size},
          {"blobs", std::move(blobs)}};
}

}  // namespace

void StorageCommands::collect(const Peer& peer, const nlohmann::json& request,
                              Done<nlohmann::json> done) {
  if (auto may = check_owner(peer, "evict"); !may) return done(fail(may));
  const auto name = text_of(request, "repo", "");
  const auto unreferenced = switch_of(request, "unreferenced");
  const auto imported = switch_of(request, "imported");
  const auto dry_run = switch_of(request, "dry_run");
  if (!name) return done(fail(Error(name.error())));
  if (!unreferenced) return done(fail(Error(unreferenced.error())));
  if (!imported) return done(fail(Error(imported.error())));
  if (!dry_run) return done(fail(Error(dry_run.error())));
  if (*imported && name->empty() && !*unreferenced)
    return done(fail(Code::invalid, "what was imported goes by name only: say which repository"));
  std::optional<RepoId> repo;
  if (!name->empty()) {
    auto parsed = RepoId::parse_user(*name);
    if (!parsed) return done(fail(parsed));
    repo = std::move(*parsed);
  }
  Bounds::Order order{.only_copies = *imported, .dry_run = *dry_run};
  if (*unreferenced)
    order.blobs = pins_->unreferenced(repo);
  else if (repo)
    order.blobs = pins_->blobs_of(*repo, std::nullopt);
  store_.bounds().evict(std::move(order),
                        [&store = store_, catalog = catalog_, dry = *dry_run,
                         done = std::move(done)](Result<Bounds::Outcome> outcome) mutable {
                          if (!outcome) return done(fail(outcome));
                          done(report(store, *catalog, *outcome, dry));
                        });
}

void StorageCommands::pin(const Peer& peer, const nlohmann::json& request,
                          Done<nlohmann::json> done) {
  change(peer, request, true, std::move(done));
}

void StorageCommands::unpin(const Peer& peer, const nlohmann::json& request,
                            Done<nlohmann::json> done) {
  change(peer, request, false, std::move(done));
}

void StorageCommands::change(const Peer& peer, const nlohmann::json& request, bool add,
                             Done<nlohmann::json> done) {
  if (auto may = check_owner(peer, "change what is pinned"); !may) return done(fail(may));
  const auto name = text_of(request, "repo", std::nullopt);
  if (!name) return done(fail(Error(name.error())));
  const auto wanted = text_of(request, "revision", "");
  if (!wanted) return done(fail(Error(wanted.error())));
  const auto repo = RepoId::parse_user(*name);
  if (!repo) return done(fail(Error(repo.error())));
  const auto shared = std::make_shared<Done<nlohmann::json>>(std::move(done));
  const auto apply = [pins = pins_, repo = *repo, add,
                      shared](const std::optional<CommitId>& commit) {
    auto answer = [repo, commit, shared](Result<void> written) {
      if (!written) return (*shared)(fail(written));
      (*shared)(to_json(repo, commit));
    };
    if (add)
      pins->add(repo, commit, std::move(answer));
    else
      pins->remove(repo, commit, std::move(answer));
  };
  const Caller caller{peer.uid, peer.gid, peer.pid};
  if (!wanted->empty()) {
    const auto revision = parse_revision(*wanted);
    if (!revision) return (*shared)(fail(Error(revision.error())));
    return find_commit(catalog_, caller, *repo, *revision, [apply, shared](Result<CommitId> commit) {
      if (!commit) return (*shared)(fail(commit));
      apply(std::move(*commit));
    });
  }
  if (!add) return apply(std::nullopt);
  // A name that the Hub does not have would be pinned for nothing.
  walk(catalog_, caller, {repo->layout()},
       [apply, shared, name = repo->text()](Result<NodeId> node) {
         if (!node) return (*shared)(fail(std::move(node.error()).during(name)));
         apply(std::nullopt);
       });
}

nlohmann::json StorageCommands::pins(const std::function<bool(const RepoId&)>& sees) const {
  nlohmann::json list = nlohmann::json::array();
  for (const Pin& pin : pins_->list()) {
    if (!sees(pin.repo)) continue;
    nlohmann::json each = to_json(pin.repo, pin.commit);
    each["since"] = pin.since.time_since_epoch().count();
    list.push_back(std::move(each));
  }
  return {{"pins", std::move(list)}};
}

}  // namespace hffs
