// SPDX-License-Identifier: Apache-2.0
#include "version_commands.h"

#include <algorithm>

#include "explanation.h"
#include "request.h"
#include "walk.h"

namespace hffs {
namespace {

using nlohmann::json;

// Of one answer, which a client takes up to 1 MiB of.
constexpr std::size_t kMostFiles = 2'000, kMostPathBytes = 400'000;
// A user's; each holds blobs that are then never evicted.
constexpr std::size_t kMostFrozenOfUser = 100;
constexpr std::size_t kMostFrozen = 10'000;
constexpr std::size_t kMostTold = 64;

json time_of(const std::optional<WallTime>& time) {
  return time ? json(time->time_since_epoch().count()) : json();
}

json to_json(const KnownRepo& repo) {
  json refs = json::array(), commits = json::array();
  for (const KnownRef& ref : repo.refs)
    refs.push_back({{"revision", ref.revision},
                    {"commit", ref.commit.hex()},
                    {"since", time_of(ref.since)}});
  for (const KnownCommit& commit : repo.commits)
    commits.push_back({{"commit", commit.commit.hex()},
                       {"refs", commit.refs},
                       {"whole_tree", commit.whole_tree},
                       {"self_attested", commit.self_attested},
                       {"pinned", commit.pinned},
                       {"files", commit.files},
                       {"bytes", commit.bytes},
                       {"bytes_here", commit.bytes_here},
                       {"last_used", time_of(commit.last_used)}});
  return {{"repo", repo.repo.text()},
          {"pinned", repo.pinned},
          {"refs", std::move(refs)},
          {"commits", std::move(commits)}};
}

json to_json(const TreeFile& file) {
  return {{"path", file.path},
          {"size", file.blob.size},
          {"hash", file.blob.id.hex()},
          {"here", file.blob.verified ? file.blob.size : file.blob.bytes_here},
          {"verified", file.blob.verified}};
}

// A page of files, and where the next begins.
json page_of(const std::vector<TreeFile>& files, std::size_t from, Store* parts_in) {
  json page = json::array();
  std::size_t at = from, bytes = 0;
  for (; at < files.size() && page.size() < kMostFiles && bytes < kMostPathBytes; ++at) {
    page.push_back(to_json(files[at]));
    bytes += files[at].path.size();
    const BlobInfo& blob = files[at].blob;
    if (parts_in == nullptr || blob.verified || blob.bytes_here == 0) continue;
    if (const auto opened = parts_in->open_blob(blob.number)) page.back()["here_by_part"] = here_by_part(**opened);
  }
  return {{"files", std::move(page)}, {"next", at < files.size() ? json(at) : json()}};
}

struct RefName {
  RepoId repo;
  std::string revision;
};

Result<RepoId> repo_in(const json& request) {
  auto name = text_of(request, "repo", std::nullopt);
  if (!name) return fail(name);
  return RepoId::parse_user(*name);
}

Result<RefName> ref_in(const json& request) {
  auto repo = repo_in(request);
  if (!repo) return fail(repo);
  auto text = text_of(request, "revision", std::nullopt);
  if (!text) return fail(text);
  auto revision = parse_revision(*text);
  if (!revision) return fail(revision);
  if (CommitId::parse(*revision) || is_side_name(*revision))
    return fail(Code::invalid, "'{}' is no ref: name a branch or a tag", *revision);
  return RefName{*repo, *revision};
}

Result<CommitId> commit_in(const json& request) {
  auto text = text_of(request, "commit", std::nullopt);
  if (!text) return fail(text);
  return CommitId::parse(*text);
}

// For whom: the peer, or everybody where it may say so.
Result<std::optional<uid_t>> whom_in(const Peer& peer, const json& request) {
  const auto all = switch_of(request, "all");
  if (!all) return fail(Error(all.error()));
  if (!*all) return std::optional<uid_t>(peer.uid);
  if (peer.owner) return std::optional<uid_t>();
  return fail(Code::denied,
              "only root and the user who started the daemon may say what a ref reads for everybody; "
              "without --all it is for yourself");
}

}  // namespace

std::optional<Done<json>> VersionCommands::answer(const Peer& peer, const json& request,
                                                  const std::function<bool(const RepoId&)>& sees,
                                                  Done<json> done) {
  const std::string command = request.at("command");
  if (command == "ref")
    ref(peer, request, std::move(done));
  else if (command == "files")
    files(request, std::move(done));
  else if (command == "freeze")
    freeze(peer, request, std::move(done));
  else if (command == "thaw")
    thaw(peer, request, std::move(done));
  else if (command == "record")
    done(record(peer));
  else if (command == "recorded")
    done(recorded(peer, request, sees));
  else
    return done;
  return std::nullopt;
}

Result<json> VersionCommands::list(const json& request,
                                   const std::function<bool(const RepoId&)>& sees,
                                   const std::function<bool(const RepoId&)>& is_public) const {
  json repos = json::array();
  const auto tell = [&](const KnownRepo& repo) {
    repos.push_back(to_json(repo));
    repos.back()["public"] = is_public(repo.repo);
  };
  // Not "repo", by whose rights the Hub would be asked first: a list sends no request.
  if (request.contains("only")) {
    const auto name = text_of(request, "only", std::nullopt);
    if (!name) return fail(Error(name.error()));
    const auto only = RepoId::parse_user(*name);
    if (!only) return fail(Error(only.error()));
    // Who does not see it does not learn by how long this takes that it is there.
    if (const auto known = sees(*only) ? versions_.find(*only) : std::nullopt) tell(*known);
    return json{{"repos", std::move(repos)}, {"next", nullptr}};
  }
  const auto from = number_of(request, "from");
  if (!from) return fail(Error(from.error()));
  const auto page = versions_.list(static_cast<std::uint32_t>(*from));
  for (const KnownRepo& repo : page.repos)
    if (sees(repo.repo)) tell(repo);
  return json{{"repos", std::move(repos)}, {"next", page.next ? json(*page.next) : json()}};
}

Result<json> VersionCommands::names(const json& request, const std::function<bool(const RepoId&)>& sees) const {
  const auto from = number_of(request, "from");
  if (!from) return fail(Error(from.error()));
  const auto prefix = text_of(request, "prefix", std::string());
  if (!prefix) return fail(Error(prefix.error()));
  const auto page = versions_.names(static_cast<std::uint32_t>(*from));
  json names = json::array();
  for (const RepoId& repo : page.repos)
    if (std::string name = repo.text(); name.starts_with(*prefix) && sees(repo)) names.push_back(std::move(name));
  return json{{"names", std::move(names)}, {"next", page.next ? json(*page.next) : json()}};
}

void VersionCommands::ref(const Peer& peer, const json& request, Done<json> done) const {
  auto name = ref_in(request);
  if (!name) return done(fail(name));
  const auto asks = switch_of(request, "ask");
  if (!asks) return done(fail(Error(asks.error())));
  json answer{{"known", nullptr}, {"since", nullptr}, {"frozen", nullptr}, {"hub", nullptr},
              {"hub_time", nullptr}};
  if (const auto known = versions_.find_ref(name->repo, name->revision)) {
    answer["known"] = known->commit.hex();
    answer["since"] = time_of(known->since);
  }
  parts_.store.read([&](const ReadTxn& txn) {
    if (const auto frozen = frozen_commit(txn, name->repo, name->revision, peer.uid))
      answer["frozen"] = frozen->hex();
  });
  if (!*asks) return done(std::move(answer));
  parts_.origin.fetch_revision(
      name->repo, name->revision,
      [answer = std::move(answer), has_hub = parts_.has_hub,
       done = std::move(done)](Result<RepoInfo> info) mutable {
        if (!info) return done(fail(info));
        if (info->attested_by && has_hub)
          return done(fail(Code::unreachable, "a folder has answered, and not the Hub"));
        if (info->commit) answer["hub"] = info->commit->hex();
        if (info->last_modified != WallTime{}) answer["hub_time"] = time_of(info->last_modified);
        done(std::move(answer));
      });
}

void VersionCommands::files(const json& request, Done<json> done) const {
  auto repo = repo_in(request);
  if (!repo) return done(fail(repo));
  auto commit = commit_in(request);
  if (!commit) return done(fail(commit));
  const auto asks = switch_of(request, "ask");
  if (!asks) return done(fail(Error(asks.error())));
  const auto from = number_of(request, "from");
  if (!from) return done(fail(Error(from.error())));
  const auto parts = switch_of(request, "parts");
  if (!parts) return done(fail(Error(parts.error())));
  auto give = [versions = versions_, repo = *repo, commit = *commit, from = *from,
               store = *parts ? &parts_.store : nullptr, done = std::move(done)](Result<void> asked) mutable {
    auto tree = versions.tree(repo, commit);
    // What is known is told though the Hub cannot be heard; that it could not be, too.
    if (!tree) return done(asked ? fail(tree) : fail(asked));
    json answer = page_of(tree->files, from, store);
    answer["self_attested"] = tree->self_attested;
    answer["asked"] = asked.has_value();
    if (!asked) answer["reason"] = asked.error().message;
    done(std::move(answer));
  };
  if (!*asks) return give({});
  parts_.catalog->ask_tree(*repo, *commit, [give = std::move(give)](Result<WholeTree> tree) mutable {
    if (!tree) return give(fail(tree));
    give({});
  });
}

void VersionCommands::freeze(const Peer& peer, const json& request, Done<json> done) const {
  auto name = ref_in(request);
  if (!name) return done(fail(name));
  auto wanted = text_of(request, "commit", std::nullopt);
  if (!wanted) return done(fail(wanted));
  auto revision = parse_revision(*wanted);
  if (!revision) return done(fail(revision));
  auto whom = whom_in(peer, request);
  if (!whom) return done(fail(whom));
  const std::size_t most = !*whom || peer.owner ? kMostFrozen : kMostFrozenOfUser;
  find_commit(parts_.catalog, Caller{peer.uid, peer.gid, peer.pid}, name->repo, *revision,
              [frozen = frozen_, name = *name, whom = *whom, most,
               done = std::move(done)](Result<CommitId> commit) mutable {
                if (!commit) return done(fail(commit));
                json answer{{"repo", name.repo.text()},
                            {"revision", name.revision},
                            {"commit", commit->hex()},
                            {"all", !whom}};
                frozen->freeze({.repo = name.repo,
                                .revision = name.revision,
                                .commit = *commit,
                                .user = whom},
                               most,
                               [answer = std::move(answer),
                                done = std::move(done)](Result<void> written) mutable {
                                 if (!written) return done(fail(written));
                                 done(std::move(answer));
                               });
              });
}

void VersionCommands::thaw(const Peer& peer, const json& request, Done<json> done) const {
  auto name = ref_in(request);
  if (!name) return done(fail(name));
  auto whom = whom_in(peer, request);
  if (!whom) return done(fail(whom));
  json answer{
      {"repo", name->repo.text()}, {"revision", name->revision}, {"all", !whom->has_value()}};
  frozen_->thaw(name->repo, name->revision, *whom,
                [answer = std::move(answer), done = std::move(done)](Result<void> written) mutable {
                  if (!written) return done(fail(written));
                  done(std::move(answer));
                });
}

json VersionCommands::frozen(const Peer& peer,
                             const std::function<bool(const RepoId&)>& sees) const {
  json list = json::array();
  for (const FrozenRef& ref : frozen_->list()) {
    if (ref.user && *ref.user != peer.uid && !peer.owner) continue;
    if (!sees(ref.repo)) continue;
    list.push_back({{"repo", ref.repo.text()},
                    {"revision", ref.revision},
                    {"commit", ref.commit.hex()},
                    {"user", ref.user ? json(*ref.user) : json()},
                    {"since", time_of(ref.since)}});
  }
  return list;
}

Result<json> VersionCommands::record(const Peer& peer) {
  auto number = parts_.recorder.begin(peer.pid);
  if (!number) return fail(number);
  return json{{"recording", *number}, {"settles_ms", Recorder::kSettles.count()}};
}

Result<json> VersionCommands::recorded(const Peer& peer, const json& request,
                                       const std::function<bool(const RepoId&)>& sees) {
  const auto number = number_of(request, "recording");
  if (!number) return fail(Error(number.error()));
  const auto from = number_of(request, "from");
  if (!from) return fail(Error(from.error()));
  if (*from == 0) {
    auto walk = parts_.recorder.end(*number, peer.pid);
    if (!walk) return fail(walk);
    if (told_.size() >= kMostTold) told_.erase(told_.begin());
    told_[*number] = {.root = peer.pid, .commits = versions_.explain(*walk, sees)};
  }
  const auto found = told_.find(*number);
  if (found == told_.end() || found->second.root != peer.pid)
    return fail(Code::not_found, "there is no such recording");
  // `from` counts files, of all commits in a row.
  std::size_t before = 0, room = kMostFiles, bytes = 0;
  json commits = json::array();
  for (const ReadCommit& commit : found->second.commits) {
    const std::size_t first = std::max<std::size_t>(*from, before) - before;
    before += commit.files.size();
    if (first >= commit.files.size() || room == 0) continue;
    json files = json::array();
    for (std::size_t i = first; i < commit.files.size() && room > 0; ++i, --room) {
      files.push_back(to_json(commit.files[i]));
      bytes += commit.files[i].path.size();
      if (bytes >= kMostPathBytes) break;
    }
    commits.push_back({{"repo", commit.repo.text()},
                       {"commit", commit.commit.hex()},
                       {"refs", commit.revisions},
                       {"files", std::move(files)}});
  }
  const std::size_t next = *from + kMostFiles - room;
  const bool more = next < before;
  if (!more) told_.erase(found);
  return json{{"commits", std::move(commits)}, {"next", more ? json(next) : json()}};
}

}  // namespace hffs
