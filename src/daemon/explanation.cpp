// SPDX-License-Identifier: Apache-2.0
#include "explanation.h"

#include <algorithm>

#include "request.h"

namespace hffs {
namespace {

using nlohmann::json;

constexpr int kMostLinks = 16;
constexpr std::size_t kToldFailures = 10;
// Parts of a file of which is told how much is here.
constexpr std::uint64_t kParts = 64;

std::deque<std::string> split(const std::string& path) {
  std::deque<std::string> names;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    if (slash != at) names.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return names;
}

const char* kind_text(NodeKind kind) {
  switch (kind) {
    case NodeKind::fixed: return "a file of the mount itself";
    case NodeKind::repo: return "a repository";
    case NodeKind::refs_root: return "the refs of a repository";
    case NodeKind::blobs_root: return "the blobs of a repository: found by name, not listed";
    case NodeKind::snapshots: return "the commits of a repository";
    case NodeKind::no_exist: return "where clients note what a commit does not have";
    case NodeKind::trees: return "where clients keep listings of their own";
    case NodeKind::ref: return "a ref: the name of a commit";
    case NodeKind::frozen_ref: return "a ref that is pinned to a commit";
    case NodeKind::revision: return "a link to a commit";
    case NodeKind::tree: return "a directory of a commit";
    case NodeKind::no_exist_dir:
    case NodeKind::absent_file:
    case NodeKind::absent_dir: return "a mark that a commit has no such file";
    case NodeKind::blob: return "a file's content";
    case NodeKind::overlay: return "a file of your own";
  }
  return "";
}

json to_json(const Error& error, const std::string& message) {
  return {{"code", info(error.code).name}, {"message", message}, {"remedy", info(error.code).remedy}};
}

}  // namespace

json here_by_part(const Blob& blob) {
  const std::uint64_t size = blob.identity().size, parts = std::min(kParts, std::max<std::uint64_t>(size, 1));
  json list = json::array();
  for (std::uint64_t part = 0; part < parts; ++part) {
    const std::uint64_t from = size * part / parts, end = size * (part + 1) / parts;
    std::uint64_t missing = 0;
    for (const BlockRun& run : blob.missing({from, end - from})) {
      const ByteRange range = bytes_of(run, size);
      missing += std::min(range.end(), end) - std::max(range.offset, from);
    }
    list.push_back(end == from ? 100 : 100 * (end - from - missing) / (end - from));
  }
  return list;
}

bool Viewer::hears_of(uid_t user) const {
  return peer.owner || user == peer.uid;
}

bool Viewer::sees(const RepoId& repo) const {
  return peer.owner || parts.access.lists(caller(), repo);
}

json Viewer::place_of(NodeId node) const {
  json place{{"repo", nullptr}, {"commit", nullptr}, {"path", nullptr}};
  if (node.kind() != NodeKind::blob) {
    const auto repo = parts.catalog->repo_of(node);
    if (repo && sees(*repo)) place["repo"] = repo->text();
    return place;
  }
  const auto sources = parts.catalog->sources_of(node.blob_number());
  if (!sources) return place;
  for (const FileSource& source : *sources)
    if (sees(source.repo))
      return {{"repo", source.repo.text()}, {"commit", source.commit.hex()}, {"path", source.path}};
  return place;
}

// Its words may name any place that has the content: for who does not see all of them they say less.
json Viewer::tell(const Activity::Failure& failure) const {
  json place = place_of(failure.node);
  bool sees_all = true;
  if (failure.node.kind() == NodeKind::blob) {
    if (const auto sources = parts.catalog->sources_of(failure.node.blob_number()))
      sees_all = std::ranges::all_of(*sources, [&](const FileSource& source) { return sees(source.repo); });
  } else if (const auto repo = parts.catalog->repo_of(failure.node)) {
    sees_all = sees(*repo);
  }
  std::string what = place["repo"].is_string() ? place["repo"].get<std::string>() : "";
  if (place["path"].is_string())
    what += fmt::format("@{}: {}", place["commit"].get<std::string>().substr(0, 12), place["path"].get<std::string>());
  json told = to_json(failure.error, sees_all ? failure.error.message : std::string(info(failure.error.code).name));
  told.update(place);
  told.update({{"when", failure.when.time_since_epoch().count()},
               {"uid", failure.uid},
               {"pid", failure.process},
               {"comm", failure.program},
               {"operation", failure.operation},
               {"what", what},
               {"count", failure.count}});
  return told;
}

void Explanation::begin(std::shared_ptr<const ActivityCommands::Parts> parts, const Peer& peer, std::string path,
                        Done<json> done) {
  const std::shared_ptr<Explanation> self(
      new Explanation(std::move(parts), peer, std::move(path), std::move(done)));
  if (self->names_.empty()) {
    self->answer_["kind"] = "the root of the mount";
    return self->finish();
  }
  // The mount is a cache's hub/ as well as its parent.
  while (self->names_.size() > 1 && self->names_.front() == "hub") self->names_.pop_front();
  // What leads up again, before it is walked, is nothing that a path needs.
  if (std::ranges::find(self->names_, "..") != self->names_.end())
    return self->stop_at(self->names_.front(), {Code::invalid, "name it without '..'", {}});
  const auto repo = RepoId::parse_layout(self->names_.front());
  if (!repo) return self->step();
  self->judge(*repo);
}

Explanation::Explanation(std::shared_ptr<const ActivityCommands::Parts> parts, const Peer& peer, std::string path,
                         Done<json> done)
    : parts_(std::move(parts)),
      viewer_{peer, *parts_},
      names_(split(path)),
      above_{kRootNode},
      answer_{{"path", path},     {"mount_point", parts_->mount_point}, {"kind", nullptr}, {"repo", nullptr},
              {"verdict", nullptr}, {"links", json::array()},           {"ref", nullptr},  {"file", nullptr},
              {"problem", nullptr}, {"failures", json::array()},        {"endpoints", json::array()}},
      done_(std::move(done)) {}

void Explanation::judge(const RepoId& repo) {
  repo_ = repo;
  answer_["repo"] = repo.text();
  parts_->access.decide(viewer_.caller(), repo, [self = shared_from_this(), repo](Result<Pass> pass) {
    if (pass) {
      self->answer_["verdict"] = {{"seen", true}, {"public", self->parts_->access.is_open(repo)}};
      return self->step();
    }
    self->answer_["verdict"] = {{"seen", false}, {"public", false}};
    self->stop_at(repo.layout(), pass.error());
  });
}

void Explanation::step() {
  if (names_.empty()) return arrive();
  const std::string name = std::move(names_.front());
  names_.pop_front();
  if (name == ".") return step();
  if (name == "..") {
    if (above_.size() > 1) above_.pop_back();
    walked_.resize(std::min(walked_.size(), walked_.rfind('/')));
    if (above_.size() == 1) walked_.clear();
    return step();
  }
  parts_->catalog->lookup(viewer_.caller(), above_.back(), name,
                          [self = shared_from_this(), name](Result<Entry> entry) {
                            if (!entry) return self->stop_at(name, entry.error());
                            if (entry->node == NodeId{})
                              return self->stop_at(name, {Code::not_found, "there is no such name", {}});
                            self->walked_ += (self->walked_.empty() ? "" : "/") + name;
                            if (entry->attr.kind == FileKind::symlink) return self->follow(entry->node, name);
                            self->above_.push_back(entry->node);
                            self->step();
                          });
}

void Explanation::follow(NodeId link, const std::string& name) {
  const auto target = parts_->catalog->read_link(link);
  if (!target) return stop_at(name, target.error());
  if (++links_ > kMostLinks) return stop_at(name, {Code::corrupt, "too many links", {}});
  answer_["links"].push_back({{"name", walked_}, {"target", *target}});
  if (target->starts_with('/')) {  // out of the mount
    answer_["kind"] = "a link out of the mount";
    return finish();
  }
  auto further = split(*target);
  names_.insert(names_.begin(), further.begin(), further.end());
  walked_ = walked_.substr(0, walked_.size() - std::min(walked_.size(), name.size() + 1));
  step();
}

void Explanation::arrive() {
  const NodeId node = above_.back();
  answer_["kind"] = kind_text(node.kind());
  if (node.kind() == NodeKind::ref || node.kind() == NodeKind::frozen_ref) note_ref(node);
  if (node.kind() == NodeKind::blob) note_blob(node);
  finish();
}

void Explanation::note_ref(NodeId node) {
  const auto commit = parts_->catalog->read_text(node);
  if (!commit) return;  // a directory of refs
  const std::size_t refs = walked_.find("refs/");
  const std::string revision = refs == walked_.npos ? "" : walked_.substr(refs + 5);
  answer_["ref"] = {{"revision", revision}, {"commit", *commit}, {"frozen", node.kind() == NodeKind::frozen_ref},
                    {"since", nullptr}, {"confirmed", nullptr}};
  const auto known = repo_ ? Versions(parts_->store).find_ref(*repo_, revision) : std::nullopt;
  // A frozen ref may mean another commit than the Hub's.
  if (!known || known->commit.hex() != *commit) return;
  answer_["ref"]["since"] = known->since.time_since_epoch().count();
  if (const auto confirmed = parts_->catalog->confirmed(*repo_, revision))
    answer_["ref"]["confirmed"] = confirmed->time_since_epoch().count();
}

void Explanation::note_blob(NodeId node) {
  const auto blob = parts_->store.open_blob(node.blob_number());
  if (!blob) return stop_at("its content", blob.error());
  const BlobInfo& identity = (*blob)->identity();
  std::uint64_t missing = 0;
  for (const BlockRun& run : (*blob)->missing({0, identity.size})) missing += bytes_of(run, identity.size).size;
  const bool whole = missing == 0;
  std::string next = "what is missing is fetched when it is read";
  if (!whole && parts_->strict) next = "all of it is fetched and verified before any of it is read";
  if (!whole && parts_->offline) next = "it is refused: the daemon is offline, and not all of it is here";
  if (whole) next = "from the page cache and the disk, through the daemon";
  if (whole && identity.verified && identity.size >= parts_->backing_from && parts_->read_mode().passthrough)
    next = "by passthrough: the kernel reads the file by itself";
  json readers = json::array();
  for (const Activity::Reader& reader : parts_->activity.readers()) {
    if (reader.blob.blob_number() != identity.number || !viewer_.hears_of(reader.uid)) continue;
    readers.push_back({{"pid", reader.process},
                       {"uid", reader.uid},
                       {"comm", program_of(reader.process)},
                       {"waiting_ms", reader.waiting ? json(reader.waiting->count()) : json()}});
  }
  json file = viewer_.place_of(node);
  file.update({{"hash", identity.id.hex()},
               {"size", identity.size},
               {"here", identity.size - missing},
               {"missing", missing},
               {"verified", identity.verified},
               {"here_by_part", here_by_part(**blob)},
               {"next_open", next},
               {"readers", std::move(readers)}});
  answer_["file"] = std::move(file);
}

void Explanation::stop_at(const std::string& name, const Error& error) {
  answer_["problem"] = to_json(error, error.message);
  answer_["problem"]["at"] = walked_.empty() ? name : walked_ + '/' + name;
  finish();
}

void Explanation::finish() {
  for (const Activity::Failure& failure : parts_->activity.failures()) {
    if (!viewer_.hears_of(failure.uid) || answer_["failures"].size() >= kToldFailures) continue;
    json told = viewer_.tell(failure);
    if (repo_ && told["repo"] != repo_->text()) continue;
    answer_["failures"].push_back(std::move(told));
  }
  for (const auto& health : parts_->origin.health())
    answer_["endpoints"].push_back(
        {{"endpoint", health.endpoint}, {"up", health.up}, {"last_error", health.last_error}});
  done_(std::move(answer_));
}

}  // namespace hffs
