// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <unistd.h>

#include <memory>

#include "request.h"
#include "walk.h"

namespace hffs {
namespace {

// As many as one answer may well hold; the count beside them is exact.
constexpr std::size_t kMostSelfAttested = 100;

double seconds_of(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

void Commands::answer(const Peer& peer, const nlohmann::json& request, UniqueFd given,
                      Done<nlohmann::json> done) {
  // Others see what is private through neither the mount nor this.
  if (!parts_.config.allow_other && !peer.owner)
    return done(fail(Code::denied, "the mount is another user's (it was mounted without --allow-other)"));
  const auto name = request.find("repo");
  const auto repo = name != request.end() && name->is_string()
                        ? RepoId::parse_user(name->get<std::string>())
                        : fail(Code::not_found, "no repository is named");
  if (peer.owner || !repo) return dispatch(peer, request, std::move(given), std::move(done));
  const Caller caller{peer.uid, peer.gid, peer.pid};
  const Asking asking(std::make_shared<Asker>(caller));
  parts_.access.decide(caller, *repo,
                       [weak = weak_from_this(), peer, request, given = std::move(given),
                        done = std::move(done)](Result<Pass> pass) mutable {
                         if (!pass) return done(fail(pass));
                         if (const auto self = weak.lock())
                           return self->dispatch(peer, request, std::move(given), std::move(done));
                         done(fail(Code::cancelled, "the daemon is ending"));
                       });
}

bool Commands::sees(const Peer& peer, const RepoId& repo) const {
  return peer.owner || parts_.access.lists(Caller{peer.uid, peer.gid, peer.pid}, repo);
}

void Commands::dispatch(const Peer& peer, const nlohmann::json& request, UniqueFd given,
                        Done<nlohmann::json> done) {
  const std::string command = request.at("command");
  // What it makes the Hub be asked is the peer's.
  const Asking asking(std::make_shared<Asker>(Caller{peer.uid, peer.gid, peer.pid}));
  if (command == "status") return done(status(peer));
  if (command == "login") return logins_.login(peer, request, std::move(done));
  if (command == "logout") return done(logins_.logout(peer));
  if (command == "stop") return done(stop(peer));
  if (command == "path") return find_path(peer, request, std::move(done));
  if (command == "import") return done(parts_.imports.start(peer, request, std::move(given)));
  if (command == "import-progress") return done(parts_.imports.look(peer, request));
  if (command == "verify")
    return parts_.verifications.start(peer, request, std::move(done));
  if (command == "verify-progress") return done(parts_.verifications.look(peer, request));
  if (command == "activity") return done(activity(peer));
  if (command == "explain") return activity_.explain(peer, request, std::move(done));
  if (command == "prefetch") return prefetches_.start(peer, request, std::move(done));
  if (command == "prefetch-progress") return done(prefetches_.look(peer, request));
  if (command == "prefetch-cancel") return done(prefetches_.cancel(peer, request));
  if (command == "gc") return storage_.collect(peer, request, std::move(done));
  if (command == "pin") return storage_.pin(peer, request, std::move(done));
  if (command == "unpin") return storage_.unpin(peer, request, std::move(done));
  if (command == "pins") {
    nlohmann::json pins = storage_.pins([&](const RepoId& repo) { return sees(peer, repo); });
    pins["frozen"] = versions_.frozen(peer, [&](const RepoId& repo) { return sees(peer, repo); });
    return done(std::move(pins));
  }
  if (command == "ls")
    return done(versions_.list(
        request, [&](const RepoId& repo) { return sees(peer, repo); },
        [&](const RepoId& repo) { return parts_.access.is_open(repo); }));
  if (command == "names") return done(versions_.names(request, [&](const RepoId& repo) { return sees(peer, repo); }));
  if (auto unknown = versions_.answer(
          peer, request, [&](const RepoId& repo) { return sees(peer, repo); }, std::move(done)))
    (*unknown)(fail(Code::invalid,
                    "unknown command '{}'; there are status, activity, explain, path, import, import-progress, verify, "
                    "verify-progress, prefetch, prefetch-progress, prefetch-cancel, gc, pin, unpin, pins, freeze, thaw, ls, names, ref, files, record, recorded, "
                    "login, logout, wait and stop",
                    command));
}

// What each user reads is nobody else's business.
nlohmann::json Commands::budget(const Peer& peer) const {
  const Budget::State state = parts_.budget.state();
  const auto limit = [](const std::optional<std::uint64_t>& of) {
    return of ? nlohmann::json(*of) : nlohmann::json();
  };
  nlohmann::json users = nlohmann::json::array();
  std::size_t over = 0;
  for (const Budget::Figures& each : state.users) {
    over += !each.over.empty();
    if (peer.owner || each.user == peer.uid)
      users.push_back({{"uid", each.user},
                       {"bytes", each.bytes},
                       {"requests", each.requests},
                       {"over", each.over.empty() ? nlohmann::json() : nlohmann::json(each.over)}});
  }
  const BudgetLimits& limits = parts_.budget.limits();
  return {{"user_bytes", limit(limits.user_bytes)},
          {"total_bytes", limit(limits.total_bytes)},
          {"user_requests", limit(limits.user_requests)},
          {"total_requests", limit(limits.total_requests)},
          {"total_used_bytes", state.total_bytes},
          {"total_used_requests", state.total_requests},
          {"users_over", over},
          {"users", std::move(users)}};
}

nlohmann::json Commands::scrub(const Peer& peer) const {
  const Scrub::State state = parts_.store.scrub().state();
  nlohmann::json recent = nlohmann::json::array();
  // They name files.
  if (peer.owner)
    for (const Finding& each : state.recent) recent.push_back(to_json(each, *parts_.catalog));
  return {{"period_seconds", state.period.count()},
          {"began", state.began.time_since_epoch().count()},
          {"ended", state.ended.time_since_epoch().count()},
          {"done_bytes", state.done_bytes},
          {"bytes", state.bytes},
          {"found", state.found},
          {"recent_findings", std::move(recent)}};
}

nlohmann::json Commands::endpoints() const {
  nlohmann::json endpoints = nlohmann::json::array();
  for (const auto& health : parts_.origin.health())
    endpoints.push_back({{"endpoint", health.endpoint}, {"up", health.up}, {"last_error", health.last_error}});
  return endpoints;
}

nlohmann::json Commands::transfer() const {
  const TransferEngine::Snapshot now = parts_.transfer.snapshot();
  return {{"waiters", now.waiters}, {"requests", now.requests}, {"buffered_bytes", now.buffered_bytes}};
}

nlohmann::json Commands::metrics() const {
  nlohmann::json metrics = nlohmann::json::object();
  for (int i = 0; i < static_cast<int>(Metric::count_); ++i) {
    const auto metric = static_cast<Metric>(i);
    metrics[std::string(info(metric).name)] = parts_.metrics.value(metric);
  }
  return metrics;
}

// What costs little, for who looks each second.
nlohmann::json Commands::activity(const Peer& peer) const {
  nlohmann::json activity = activity_.activity(peer);
  const Store::Usage store = parts_.store.usage();
  activity["prefetches"] = prefetches_.list(peer);
  activity["now"] = {{"mount_point", parts_.config.mount_point},
                     {"version", HFFS_VERSION},
                     {"worker_restarts", parts_.workers - 1},
                     {"offline", parts_.config.offline},
                     {"endpoints", endpoints()},
                     {"transfer", transfer()},
                     {"metrics", metrics()},
                     {"store",
                      {{"bytes", store.bytes + store.unclaimed_bytes},
                       {"blobs", store.blobs},
                       {"free_bytes", store.free_bytes},
                       {"max_size", parts_.config.limits.max_size}}}};
  return activity;
}

nlohmann::json Commands::status(const Peer& peer) const {
  const Config& config = parts_.config;
  const auto uptime = parts_.clock.now() - started_;
  const Store::Usage store = parts_.store.usage();
  const Bounds::State bounds = parts_.store.bounds().state();
  const Catalog::Usage catalog =
      parts_.catalog->usage([&](const RepoId& repo) { return sees(peer, repo); });
  nlohmann::json self_attested = nlohmann::json::array();
  if (catalog.self_attested != 0)
    for (const SelfAttested& each : parts_.catalog->self_attested(kMostSelfAttested))
      if (sees(peer, each.repo))
        self_attested.push_back({{"repo", each.repo.text()},
                                 {"commit", each.commit.hex()},
                                 {"imported_by", each.importer == kFolderItself ? nlohmann::json() : nlohmann::json(each.importer)}});
  const ReadMode mode = parts_.read_mode();
  return {
      {"version", HFFS_VERSION},
      {"pid", ::getppid()},
      {"worker", {{"pid", ::getpid()}, {"uid", ::geteuid()}, {"restarts", parts_.workers - 1}}},
      {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
      {"mount_point", config.mount_point},
      {"state_dir", config.state_dir},
      {"offline", config.offline},
      {"anonymous", config.anonymous},
      {"settings",
       {{"ref_ttl_seconds", seconds_of(config.ref_ttl)},
        {"read_deadline_seconds", seconds_of(config.read_deadline)},
        {"sync_interval_seconds", seconds_of(config.sync_interval)}}},
      {"endpoints", endpoints()},
      {"store",
       {{"blobs", store.blobs},
        {"verified_blobs", store.verified_blobs},
        {"bytes", store.bytes},
        {"unclaimed_bytes", store.unclaimed_bytes},
        {"free_bytes", store.free_bytes},
        {"used_bytes", bounds.used},
        {"pinned_bytes", bounds.pinned},
        {"only_copy_bytes", bounds.only_copies},
        {"unlinked_bytes", bounds.unlinked},
        {"max_size", bounds.max_size},
        {"min_free", bounds.min_free},
        {"damages", parts_.store.damages()}}},
      {"scrub", scrub(peer)},
      {"budget", budget(peer)},
      {"catalog",
       {{"repos", catalog.repos},
        {"commits", catalog.commits},
        {"files", catalog.files},
        {"self_attested", catalog.self_attested}}},
      {"self_attested", std::move(self_attested)},
      {"transfer", transfer()},
      {"failures", activity_.failures(peer)},
      {"mode", mode.passthrough ? "passthrough" : "page cache"},
      {"mode_reason", mode.reason},
      {"metrics", metrics()},
  };
}

Result<nlohmann::json> Commands::stop(const Peer& peer) {
  if (!peer.owner)
    return fail(Code::denied, "only root and the user who started the daemon may end it");
  parts_.stop(peer);
  return nlohmann::json{{"ok", true}};
}

void Commands::find_path(const Peer& peer, const nlohmann::json& request,
                         Done<nlohmann::json> done) {
  const auto name = text_of(request, "repo", std::nullopt);
  if (!name) return done(fail(Error(name.error())));
  const auto wanted = text_of(request, "revision", "main");
  if (!wanted) return done(fail(Error(wanted.error())));
  const auto repo = RepoId::parse_user(*name);
  if (!repo) return done(fail(Error(repo.error())));
  const auto revision = parse_revision(*wanted);
  if (!revision) return done(fail(Error(revision.error())));

  const std::string snapshots =
      fmt::format("{}/{}/snapshots/", parts_.config.mount_point, repo->layout());
  const auto to_answer = [](const std::string& path, const std::string& commit) {
    return nlohmann::json{{"path", path}, {"commit", commit}};
  };
  if (CommitId::parse(*revision)) return done(to_answer(snapshots + *revision, *revision));
  find_commit(parts_.catalog, Caller{peer.uid, peer.gid, peer.pid}, *repo, *revision,
              [snapshots, to_answer, done = std::move(done)](Result<CommitId> commit) mutable {
                if (!commit) return done(fail(commit));
                done(to_answer(snapshots + commit->hex(), commit->hex()));
              });
}

}  // namespace hffs
