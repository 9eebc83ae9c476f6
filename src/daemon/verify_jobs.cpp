// SPDX-License-Identifier: Apache-2.0
#include "verify_jobs.h"

#include "hffs/pins.h"
#include "hffs/telemetry.h"
#include "request.h"
#include "walk.h"

namespace hffs {
namespace {

using nlohmann::json;

Result<void> may_verify(const Peer& peer) {
  if (peer.owner) return {};
  return fail(Code::denied, "only root and the user who started the daemon may verify");
}

class VerifyJob final : public Job {
 public:
  VerifyJob(std::unique_ptr<Verification> work, std::shared_ptr<Catalog> catalog)
      : work_(std::move(work)), catalog_(std::move(catalog)) {}

  json progress() const override {
    const Verification::Progress progress = work_->progress();
    return {{"doing", "verifying"},
            {"files_done", progress.files_done},
            {"files", progress.files},
            {"bytes_done", progress.bytes_done},
            {"bytes", progress.bytes}};
  }
  std::optional<Result<json>> report() const override {
    const auto findings = work_->result();
    if (!findings) return std::nullopt;
    json list = json::array();
    for (const Finding& each : *findings) list.push_back(to_json(each, *catalog_));
    return json{{"findings", std::move(list)}};
  }

 private:
  const std::unique_ptr<Verification> work_;
  const std::shared_ptr<Catalog> catalog_;
};

}  // namespace

json to_json(const Finding& finding, Catalog& catalog) {
  json item{{"repo", nullptr},
            {"commit", nullptr},
            {"path", nullptr},
            {"blob", finding.blob.id.hex()},
            {"size", finding.blob.size},
            {"what", name_of(finding.what)},
            {"found", finding.found.empty() ? json() : json(finding.found)},
            {"reason", finding.reason},
            {"when", finding.when.time_since_epoch().count()}};
  if (const auto sources = catalog.sources_of(finding.blob.number); sources && !sources->empty()) {
    const FileSource& source = sources->front();
    item["repo"] = source.repo.text();
    item["commit"] = source.commit.hex();
    item["path"] = source.path;
  }
  return item;
}

void VerifyJobs::start(const Peer& peer, const json& request, Done<json> done) {
  if (auto may = may_verify(peer); !may) return done(fail(may));
  const auto name = text_of(request, "repo", "");
  if (!name) return done(fail(Error(name.error())));
  const auto wanted = text_of(request, "revision", "");
  if (!wanted) return done(fail(Error(wanted.error())));
  if (name->empty()) return done(begin(peer, std::nullopt));
  const auto repo = RepoId::parse_user(*name);
  if (!repo) return done(fail(Error(repo.error())));
  if (wanted->empty()) {
    auto blobs = Pins(store_, clock_).blobs_of(*repo, std::nullopt);
    if (blobs.empty())
      return done(fail(Code::not_found, "nothing is known of {}; was it ever read?", repo->text()));
    return done(begin(peer, std::move(blobs)));
  }
  const auto revision = parse_revision(*wanted);
  if (!revision) return done(fail(Error(revision.error())));
  find_commit(catalog_, {peer.uid, peer.gid, peer.pid}, *repo, *revision,
              [weak = weak_from_this(), peer, repo = *repo,
               done = std::move(done)](Result<CommitId> commit) mutable {
                if (!commit) return done(fail(commit));
                const auto self = weak.lock();
                if (!self) return done(fail(Code::cancelled, "the daemon is ending"));
                done(self->begin(peer, Pins(self->store_, self->clock_).blobs_of(repo, *commit)));
              });
}

Result<json> VerifyJobs::begin(const Peer& peer, std::optional<std::vector<std::uint64_t>> blobs) {
  return jobs_.start([&]() -> Result<std::unique_ptr<Job>> {
    log(Level::info, "verify", "uid={} verifies {}", peer.uid,
        blobs ? fmt::format("{} blobs", blobs->size()) : "all");
    return std::make_unique<VerifyJob>(store_.scrub().verify(std::move(blobs)), catalog_);
  });
}

Result<json> VerifyJobs::look(const Peer& peer, const json& request) {
  if (auto may = may_verify(peer); !may) return fail(may);
  return jobs_.look(request);
}

}  // namespace hffs
