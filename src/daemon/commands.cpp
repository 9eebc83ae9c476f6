// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <unistd.h>

#include <deque>
#include <memory>

namespace hffs {
namespace {

// A string member, or `otherwise` where there is none. Code::invalid if it is something else.
Result<std::string> text_of(const nlohmann::json& request, const char* name,
                            std::optional<std::string> otherwise) {
  const auto found = request.find(name);
  if (found == request.end() && otherwise) return *otherwise;
  if (found == request.end() || !found->is_string())
    return fail(Code::invalid, "the request needs a string \"{}\"", name);
  return found->get<std::string>();
}

// As many as one answer may well hold; the count beside them is exact.
constexpr std::size_t kMostSelfAttested = 100;

double seconds_of(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

// Walks from the root to a ref as a client would, name by name, and reads the commit in it.
class RefWalk : public std::enable_shared_from_this<RefWalk> {
 public:
  RefWalk(std::shared_ptr<Catalog> catalog, const Caller& caller, std::deque<std::string> names,
          Done<std::string> done)
      : catalog_(std::move(catalog)), caller_(caller), names_(std::move(names)), done_(std::move(done)) {}

  void step(NodeId node) {
    if (names_.empty()) return done_(catalog_->read_text(node));
    const std::string name = std::move(names_.front());
    names_.pop_front();
    catalog_->lookup(caller_, node, name, [self = shared_from_this(), name](Result<Entry> entry) {
      if (!entry) return self->done_(fail(entry));
      if (entry->node == NodeId{}) return self->done_(fail(Code::not_found, "no {}", name));
      self->step(entry->node);
    });
  }

 private:
  const std::shared_ptr<Catalog> catalog_;
  const Caller caller_;
  std::deque<std::string> names_;
  Done<std::string> done_;
};

}  // namespace

void Commands::answer(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) {
  const std::string command = request.at("command");
  if (command == "status") return done(status());
  if (command == "stop") return done(stop(peer));
  if (command == "path") return find_path(peer, request, std::move(done));
  if (command == "import") return done(parts_.imports.start(peer, request));
  if (command == "import-progress") return done(parts_.imports.look(peer, request));
  done(fail(Code::invalid,
            "unknown command '{}'; there are status, path, import, import-progress, wait and stop",
            command));
}

nlohmann::json Commands::status() const {
  const Config& config = parts_.config;
  const auto uptime = parts_.clock.now() - started_;
  nlohmann::json endpoints = nlohmann::json::array();
  for (const auto& health : parts_.origin.health())
    endpoints.push_back(
        {{"endpoint", health.endpoint}, {"up", health.up}, {"last_error", health.last_error}});
  nlohmann::json self_attested = nlohmann::json::array();
  for (const SelfAttested& each : parts_.catalog->self_attested(kMostSelfAttested))
    self_attested.push_back({{"repo", each.repo.text()},
                             {"commit", each.commit.hex()},
                             {"imported_by", each.importer}});
  const Store::Usage store = parts_.store.usage();
  const Catalog::Usage catalog = parts_.catalog->usage();
  const TransferEngine::Snapshot transfer = parts_.transfer.snapshot();
  const ReadMode mode = parts_.server.read_mode();
  nlohmann::json metrics = nlohmann::json::object();
  for (int i = 0; i < static_cast<int>(Metric::count_); ++i) {
    const auto metric = static_cast<Metric>(i);
    metrics[std::string(info(metric).name)] = parts_.metrics.value(metric);
  }
  return {
      {"version", HFFS_VERSION},
      {"pid", ::getpid()},
      {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
      {"mount_point", config.mount_point},
      {"state_dir", config.state_dir},
      {"offline", config.offline},
      {"settings",
       {{"ref_ttl_seconds", seconds_of(config.ref_ttl)},
        {"read_deadline_seconds", seconds_of(config.read_deadline)},
        {"sync_interval_seconds", seconds_of(config.sync_interval)}}},
      {"endpoints", std::move(endpoints)},
      {"store",
       {{"blobs", store.blobs},
        {"verified_blobs", store.verified_blobs},
        {"bytes", store.bytes},
        {"unclaimed_bytes", store.unclaimed_bytes},
        {"free_bytes", store.free_bytes}}},
      {"catalog",
       {{"repos", catalog.repos},
        {"commits", catalog.commits},
        {"files", catalog.files},
        {"self_attested", catalog.self_attested}}},
      {"self_attested", std::move(self_attested)},
      {"transfer",
       {{"waiters", transfer.waiters},
        {"requests", transfer.requests},
        {"buffered_bytes", transfer.buffered_bytes}}},
      {"mode", mode.passthrough ? "passthrough" : "page cache"},
      {"mode_reason", mode.reason},
      {"metrics", std::move(metrics)},
  };
}

Result<nlohmann::json> Commands::stop(const Peer& peer) {
  if (peer.uid != 0 && peer.uid != ::geteuid())
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
  std::deque<std::string> names{repo->layout(), "refs"};
  for (std::string_view rest = *revision; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    names.emplace_back(rest.substr(0, slash));
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  std::make_shared<RefWalk>(parts_.catalog, Caller{peer.uid, peer.gid, peer.pid}, std::move(names),
                            [snapshots, to_answer, what = fmt::format("{}@{}", *name, *revision),
                             done = std::move(done)](Result<std::string> commit) mutable {
                              if (!commit)
                                return done(fail(std::move(commit.error()).during(what)));
                              done(to_answer(snapshots + *commit, *commit));
                            })
      ->step(kRootNode);
}

}  // namespace hffs
