// SPDX-License-Identifier: Apache-2.0
#include "hffs/versions.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "hffs/frozen_refs.h"
#include "hffs/pins.h"
#include "index.h"

namespace hffs {
namespace {

using catalog::CommitNumber;
using catalog::CommitRow;
using catalog::RepoNumber;
using catalog::SourceRow;

// Of one page: it is made while others wait for the index's snapshot.
constexpr std::size_t kMostRepos = 100, kMostCommits = 1'000, kMostEntries = 50'000, kMostNames = 4'000;

struct Content {
  std::size_t repo = 0, commit = 0;  // in the page
  std::vector<std::uint64_t> blobs;
};

std::vector<std::uint64_t> blobs_of(const ReadTxn& txn, const CommitRow& commit) {
  std::unordered_set<std::uint64_t> blobs;
  catalog::visit_tree(txn, commit.number, 0, [&](const catalog::EntryRow& entry) {
    if (entry.blob != 0) blobs.insert(entry.blob);
    return true;
  });
  return {blobs.begin(), blobs.end()};
}

KnownRepo load_known(const ReadTxn& txn, const catalog::RepoRow& row,
                     std::vector<std::pair<std::size_t, CommitRow>>& commits) {
  KnownRepo known{.repo = row.id};
  std::map<CommitNumber, std::vector<std::string>> names;
  catalog::visit_refs(txn, row.number, {}, {}, [&](const catalog::RefRow& ref) {
    const auto commit = catalog::load_commit(txn, ref.commit);
    if (ref.directory || !commit) return true;
    known.refs.push_back({ref.revision, commit->id, ref.changed});
    names[ref.commit].push_back(ref.revision);
    return true;
  });
  catalog::visit_commits(txn, row.number, {}, [&](std::string_view, std::uint64_t number) {
    auto commit = catalog::load_commit(txn, static_cast<CommitNumber>(number));
    if (!commit) return true;
    known.commits.push_back({.commit = commit->id,
                             .refs = names[commit->number],
                             .whole_tree = commit->complete,
                             .self_attested = commit->attested_by.has_value(),
                             .files = commit->files});
    commits.emplace_back(known.commits.size() - 1, std::move(*commit));
    return true;
  });
  return known;
}

void mark_pins(const ReadTxn& txn, const std::vector<Pin>& pins, std::vector<KnownRepo>& repos) {
  const auto mark = [&](const RepoId& repo, const std::optional<CommitId>& commit) {
    for (KnownRepo& each : repos) {
      if (each.repo != repo) continue;
      each.pinned = each.pinned || !commit;
      for (KnownCommit& its : each.commits)
        its.pinned = its.pinned || !commit || its.commit == *commit;
    }
  };
  for (const Pin& pin : pins) mark(pin.repo, pin.commit);
  visit_frozen_refs(txn, [&](const FrozenRef& ref) { mark(ref.repo, ref.commit); });
}

// Repositories as they are told of, while they are gathered.
struct Listing {
  std::vector<KnownRepo> repos;
  std::vector<Content> contents;
  std::size_t entries = 0;

  void add(const ReadTxn& txn, const catalog::RepoRow& row) {
    std::vector<std::pair<std::size_t, CommitRow>> commits;
    repos.push_back(load_known(txn, row, commits));
    for (const auto& [place, commit] : commits) {
      contents.push_back({repos.size() - 1, place, blobs_of(txn, commit)});
      entries += commit.next_position;
    }
  }
  bool full() const {
    return repos.size() >= kMostRepos || contents.size() >= kMostCommits || entries >= kMostEntries;
  }
  void count_bytes(Store& store) {
    for (const Content& content : contents) {
      KnownCommit& known = repos[content.repo].commits[content.commit];
      for (const std::uint64_t number : content.blobs) {
        const auto blob = store.blob(number);
        if (!blob) continue;
        known.bytes += blob->size;
        known.bytes_here += blob->verified ? blob->size : blob->bytes_here;
        if (const auto opened = store.bounds().last_open(number); opened && opened > known.last_used)
          known.last_used = opened;
      }
    }
  }
};

}  // namespace

Versions::Page Versions::list(std::uint32_t after) const {
  Page page;
  Listing listing;
  store_.read([&](const ReadTxn& txn) {
    catalog::visit_repos(txn, after, [&](const catalog::RepoRow& row) {
      listing.add(txn, row);
      if (!listing.full()) return true;
      page.next = row.number;
      return false;
    });
    mark_pins(txn, load_pins(txn), listing.repos);
  });
  listing.count_bytes(store_);
  page.repos = std::move(listing.repos);
  return page;
}

Versions::Names Versions::names(std::uint32_t after) const {
  Names names;
  store_.read([&](const ReadTxn& txn) {
    catalog::visit_repos(txn, after, [&](const catalog::RepoRow& row) {
      names.repos.push_back(row.id);
      if (names.repos.size() < kMostNames) return true;
      names.next = row.number;
      return false;
    });
  });
  return names;
}

std::optional<KnownRepo> Versions::find(const RepoId& repo) const {
  Listing listing;
  store_.read([&](const ReadTxn& txn) {
    const auto number = catalog::find_repo(txn, repo);
    const auto row = number ? catalog::load_repo(txn, *number) : std::nullopt;
    if (!row) return;
    listing.add(txn, *row);
    mark_pins(txn, load_pins(txn), listing.repos);
  });
  listing.count_bytes(store_);
  return listing.repos.empty() ? std::nullopt : std::optional(std::move(listing.repos.front()));
}

std::optional<KnownRef> Versions::find_ref(const RepoId& repo, const std::string& revision) const {
  std::optional<KnownRef> found;
  store_.read([&](const ReadTxn& txn) {
    const auto number = catalog::find_repo(txn, repo);
    const auto ref = number ? catalog::load_ref(txn, *number, revision) : std::nullopt;
    const auto commit = ref ? catalog::load_commit(txn, ref->commit) : std::nullopt;
    if (commit) found = KnownRef{revision, commit->id, ref->changed};
  });
  return found;
}

Result<WholeTree> Versions::tree(const RepoId& repo, const CommitId& id) const {
  std::optional<CommitRow> commit;
  std::vector<std::pair<std::string, std::uint64_t>> files;
  store_.read([&](const ReadTxn& txn) {
    const auto number = catalog::find_repo(txn, repo);
    const auto known = number ? catalog::find_commit(txn, *number, id.hex()) : std::nullopt;
    if (known) commit = catalog::load_commit(txn, *known);
    if (!commit) return;
    catalog::visit_tree(txn, commit->number, 0, [&](const catalog::EntryRow& entry) {
      if (entry.blob != 0) files.emplace_back(catalog::path_of(txn, commit->number, entry.position), entry.blob);
      return true;
    });
  });
  if (!commit)
    return fail(Code::not_found, "{} has no commit {}, as far as is known", repo.text(), id.hex());
  WholeTree tree{.self_attested = commit->attested_by.has_value()};
  std::ranges::sort(files);
  for (auto& [path, number] : files)
    if (auto blob = store_.blob(number)) tree.files.push_back({std::move(path), std::move(*blob)});
  return tree;
}

namespace {

struct Places {
  std::map<CommitNumber, std::vector<SourceRow>> of_commit;  // its places, one for each blob
  std::map<CommitNumber, std::vector<std::uint64_t>> blobs;  // beside them
};

Places find_places(const ReadTxn& txn, const Walk& walk,
                   const std::function<bool(const RepoId&)>& sees) {
  Places places;
  for (const std::uint64_t blob : walk.blobs) {
    std::vector<SourceRow> rows = catalog::all_sources(txn, blob);
    std::erase_if(rows, [&](const SourceRow& row) {
      const auto repo = catalog::load_repo(txn, row.repo);
      return !repo || !sees(repo->id);
    });
    const auto walked = [&](const SourceRow& row) { return walk.repos.contains(row.repo); };
    // Who entered through a directory that was open already was not seen on the way.
    if (std::ranges::any_of(rows, walked)) std::erase_if(rows, std::not_fn(walked));
    for (const SourceRow& row : rows) {
      places.of_commit[row.commit].push_back(row);
      places.blobs[row.commit].push_back(blob);
    }
  }
  return places;
}

}  // namespace

std::vector<ReadCommit> Versions::explain(
    const Walk& walk, const std::function<bool(const RepoId&)>& sees) const {
  std::map<CommitNumber, ReadCommit> told;
  std::map<CommitNumber, std::vector<std::pair<std::string, std::uint64_t>>> files;
  store_.read([&](const ReadTxn& txn) {
    const Places places = find_places(txn, walk, sees);
    std::map<CommitNumber, std::set<std::string>> revisions;
    for (const auto& [node, hex] : walk.refs) {
      const auto ref = catalog::load_ref(txn, node.payload());
      const auto commit = ref ? catalog::find_commit(txn, ref->repo, hex) : std::nullopt;
      if (commit) revisions[*commit].insert(ref->revision);
    }
    for (const auto& [directory, name, node] : walk.names) {
      const auto above = directory.kind() == NodeKind::ref
                             ? catalog::load_ref(txn, directory.payload())
                             : std::nullopt;
      revisions[static_cast<CommitNumber>(node.commit())].insert(
          above ? above->revision + '/' + name : name);
    }
    std::set<std::uint64_t> left = walk.blobs;
    const auto tell = [&](CommitNumber number, bool only_left) {
      const auto commit = catalog::load_commit(txn, number);
      const auto repo = commit ? catalog::load_repo(txn, commit->repo) : std::nullopt;
      const auto& rows = places.of_commit.at(number);
      const auto& blobs = places.blobs.at(number);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (only_left && !left.contains(blobs[i])) continue;
        if (repo)
          files[number].emplace_back(catalog::path_of(txn, number, rows[i].position), blobs[i]);
      }
      for (const std::uint64_t blob : blobs) left.erase(blob);
      if (repo) told.emplace(number, ReadCommit{repo->id, commit->id, revisions[number], {}});
    };
    for (const auto& [number, names] : revisions)
      if (places.of_commit.contains(number)) tell(number, false);
    while (!left.empty()) {
      std::optional<CommitNumber> best;
      std::size_t most = 0;
      for (const auto& [number, blobs] : places.blobs) {
        const auto explains = static_cast<std::size_t>(std::ranges::count_if(
            blobs, [&](std::uint64_t blob) { return left.contains(blob); }));
        if (explains != 0 && explains >= most) best = number, most = explains;
      }
      if (!best) break;
      tell(*best, true);
    }
  });
  std::vector<ReadCommit> all;
  for (auto& [number, commit] : told) {
    auto& its = files[number];
    std::ranges::sort(its);
    for (auto& [path, blob] : its)
      if (auto found = store_.blob(blob))
        commit.files.push_back({std::move(path), std::move(*found)});
    all.push_back(std::move(commit));
  }
  std::ranges::sort(all, {}, [](const ReadCommit& each) { return std::tie(each.repo, each.commit); });
  return all;
}

}  // namespace hffs
