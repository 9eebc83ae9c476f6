// SPDX-License-Identifier: Apache-2.0
#include "import_jobs.h"

#include "hffs/lending.h"
#include "hffs/telemetry.h"
#include "request.h"

namespace hffs {
namespace {

using nlohmann::json;

json to_json(const ImportedCommit& commit) {
  return {{"repo", commit.repo.text()},
          {"commit", commit.commit.hex()},
          {"self_attested", commit.self_attested},
          {"reason", commit.reason},
          {"files", commit.files},
          {"bytes", commit.bytes},
          {"taken_files", commit.taken_files},
          {"taken_bytes", commit.taken_bytes},
          {"present_files", commit.present_files},
          {"present_bytes", commit.present_bytes}};
}

json to_json(const Skipped& skipped) {
  return {{"path", skipped.path}, {"why", name_of(skipped.why)}, {"reason", skipped.reason}};
}

template <class T>
json to_list(const std::vector<T>& items) {
  json list = json::array();
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

class ImportJob final : public Job {
 public:
  explicit ImportJob(std::unique_ptr<Importer> importer) : importer_(std::move(importer)) {}

  json progress() const override {
    const CarryProgress progress = importer_->progress();
    return {{"doing", progress.doing},
            {"files_done", progress.files_done},
            {"files", progress.files},
            {"bytes_done", progress.bytes_done},
            {"bytes", progress.bytes}};
  }
  std::optional<Result<json>> report() const override {
    const auto result = importer_->result();
    if (!result) return std::nullopt;
    if (!*result) return fail(Error(result->error()));
    const ImportReport& report = **result;
    return json{{"commits", to_list(report.commits)},
                {"skipped", to_list(report.skipped)},
                {"remarks", report.remarks}};
  }

 private:
  const std::unique_ptr<Importer> importer_;
};

// Whoever imports decides what all users of the mount see under a repository's name.
Result<void> may_import(const Peer& peer) {
  if (peer.owner) return {};
  return fail(Code::denied, "only root and the user who started the daemon may import");
}

}  // namespace

// What is there is here already; and a daemon that is killed while it waits for itself cannot end.
Result<void> ImportJobs::check_outside(const std::string& path) const {
  if (mount_point_.empty() || !(path + '/').starts_with(mount_point_ + '/')) return {};
  return fail(Code::invalid, "{} lies in the mount itself", path);
}

Result<json> ImportJobs::start(const Peer& peer, const json& request, UniqueFd lent) {
  if (auto allowed = may_import(peer); !allowed) return fail(allowed);
  auto path = text_of(request, "path", std::nullopt);
  if (!path) return fail(path);
  ImportRequest wanted{.path = std::move(*path), .importer = peer.uid};
  if (!wanted.path.starts_with('/'))
    return fail(Code::invalid, "the request needs an absolute \"path\"");
  if (auto outside = check_outside(wanted.path); !outside) return fail(outside);
  if (!lent)
    return fail(Code::invalid, "an import needs a folder that is lent with the request, as `hffs import` of this version does");
  if (request.contains("repo")) {
    auto name = text_of(request, "repo", std::nullopt);
    if (!name) return fail(name);
    auto repo = RepoId::parse_user(*name);
    if (!repo) return fail(repo);
    wanted.repo = *repo;
    auto text = text_of(request, "revision", "main");
    if (!text) return fail(text);
    auto revision = parse_revision(*text);
    if (!revision) return fail(revision);
    wanted.revision = *revision;
  }
  const auto confirmed_only = switch_of(request, "confirmed_only");
  if (!confirmed_only) return fail(Error(confirmed_only.error()));
  wanted.confirmed_only = *confirmed_only;
  const auto compare = switch_of(request, "compare");
  if (!compare) return fail(Error(compare.error()));
  wanted.compare = *compare;
  if (request.contains("inode")) {
    const auto device = number_of(request, "device"), inode = number_of(request, "inode");
    if (!device) return fail(Error(device.error()));
    if (!inode) return fail(Error(inode.error()));
    wanted.identity = {static_cast<dev_t>(*device), static_cast<ino_t>(*inode)};
  }
  wanted.open = [this, lent = std::move(lent)](std::stop_token stop) mutable -> Result<OpenedFolder> {
    auto opened = borrow_folder(std::move(lent), std::move(stop));
    if (!opened) return opened;
    if (auto outside = check_outside(opened->folder.path()); !outside) return fail(outside);
    return opened;
  };
  return jobs_.start([&]() -> Result<std::unique_ptr<Job>> {
    log(Level::info, "import", "uid={} imports {}", peer.uid, wanted.path);
    auto importer = Importer::start(std::move(wanted), trees_, store_, disk_);
    if (!importer) return fail(importer);
    return std::make_unique<ImportJob>(std::move(*importer));
  });
}

Result<json> ImportJobs::look(const Peer& peer, const json& request) {
  if (auto allowed = may_import(peer); !allowed) return fail(allowed);
  return jobs_.look(request);
}

}  // namespace hffs
