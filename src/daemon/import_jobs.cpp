// SPDX-License-Identifier: Apache-2.0
#include "import_jobs.h"

#include "hffs/telemetry.h"
#include "request.h"

namespace hffs {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kLeft{15}, kLookAround{1};
// Of each list in one answer: far below what a line may hold.
constexpr std::size_t kPage = 200;

template <class T, class Convert>
bool add_page(json& answer, const char* name, const std::vector<T>& items, std::size_t from,
              Convert convert) {
  json page = json::array();
  for (std::size_t i = from; i < items.size() && page.size() < kPage; ++i)
    page.push_back(convert(items[i]));
  answer[name] = std::move(page);
  return items.size() > from + kPage;
}

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

// Whoever imports decides what all users of the mount see under a repository's name.
Result<void> may_import(const Peer& peer) {
  if (is_owner(peer)) return {};
  return fail(Code::denied, "only root and the user who started the daemon may import");
}

}  // namespace

ImportJobs::ImportJobs(Trees& trees, Store& store, Disk& disk)
    : trees_(trees), store_(store), disk_(disk), watcher_([this](std::stop_token stop) {
        watch(stop);
      }) {}

bool ImportJobs::Job::left() const {
  return importer && !importer->result() &&
         std::chrono::steady_clock::now() - looked_at > kLeft;
}

void ImportJobs::watch(const std::stop_token& stop) {
  std::mutex mutex;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      wake_.wait_for(lock, stop, kLookAround, [] { return false; });
    }
    // Its end may take a while, and nobody waits for it with the lock.
    std::unique_ptr<Importer> left;
    if (auto job = job_.lock(); job->left()) left = std::move(job->importer);
    if (left) log(Level::info, "import", "stopped: nobody asks how it goes any more");
  }
}

Result<json> ImportJobs::start(const Peer& peer, const json& request) {
  if (auto allowed = may_import(peer); !allowed) return fail(allowed);
  auto path = text_of(request, "path", std::nullopt);
  if (!path) return fail(path);
  ImportRequest wanted{.path = std::move(*path), .importer = peer.uid};
  if (!wanted.path.starts_with('/'))
    return fail(Code::invalid, "the request needs an absolute \"path\"");
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
  auto job = job_.lock();
  if (job->importer && !job->importer->result())
    return fail(Code::busy, "another import is under way; wait for its end");
  job->importer.reset();
  log(Level::info, "import", "uid={} imports {}", peer.uid, wanted.path);
  auto importer = Importer::start(std::move(wanted), trees_, store_, disk_);
  if (!importer) return fail(importer);
  job->importer = std::move(*importer);
  job->looked_at = std::chrono::steady_clock::now();
  return json{{"job", ++job->number}};
}

Result<json> ImportJobs::look(const Peer& peer, const json& request) {
  if (auto allowed = may_import(peer); !allowed) return fail(allowed);
  const auto number = number_of(request, "job");
  if (!number) return fail(Error(number.error()));
  const auto from = number_of(request, "from");
  if (!from) return fail(Error(from.error()));
  auto job = job_.lock();
  if (!job->importer || *number != job->number)
    return fail(Code::not_found, "there is no such import, or it was stopped");
  job->looked_at = std::chrono::steady_clock::now();
  const CarryProgress progress = job->importer->progress();
  const auto result = job->importer->result();
  if (result && !*result) return fail(Error(result->error()));
  json answer{{"running", !result},
              {"doing", progress.doing},
              {"files_done", progress.files_done},
              {"files", progress.files},
              {"bytes_done", progress.bytes_done},
              {"bytes", progress.bytes}};
  if (!result) return answer;
  const ImportReport& report = **result;
  bool more = add_page(answer, "commits", report.commits, *from,
                       [](const ImportedCommit& commit) { return to_json(commit); });
  more |= add_page(answer, "skipped", report.skipped, *from,
                   [](const Skipped& skipped) { return to_json(skipped); });
  more |= add_page(answer, "remarks", report.remarks, *from,
                   [](const std::string& remark) { return json(remark); });
  answer["next"] = more ? json(*from + kPage) : json();
  return answer;
}

}  // namespace hffs
