// SPDX-License-Identifier: Apache-2.0
#include "import_plan.h"

#include <map>

#include "await.h"

namespace hffs::carry {

void Planner::skip(const FoundFile& file, Skip why, std::string reason) {
  report_->skipped.push_back({file.place, why, std::move(reason)});
}

Result<std::vector<Take>> Planner::plan(Found& found, ImportReport& report) {
  report_ = &report;
  std::ranges::move(found.skipped, std::back_inserter(report.skipped));
  for (FoundRepo& repo : found.repos) {
    for (FoundCommit& commit : repo.commits)
      if (auto planned = plan_commit(found, repo.id, commit); !planned) return fail(planned);
    for (const FoundRef& ref : repo.refs)
      if (auto set = set_ref(repo.id, ref); !set) return fail(set);
  }
  return std::move(takes_);
}

// The Hub's word. A plain folder's commit is what the Hub says that the revision is.
Result<WholeTree> Planner::ask(const RepoId& repo, FoundCommit& commit) {
  if (!commit.id) {
    if (auto given = CommitId::parse(request_.revision)) commit.id = *given;
  }
  if (!commit.id) {
    auto asked = await<CommitId>(
        stop_, [&](auto done) { trees_.ask_revision(repo, request_.revision, std::move(done)); });
    if (!asked) return fail(asked);
    commit.id = *asked;
  }
  return await<WholeTree>(stop_,
                          [&](auto done) { trees_.ask_tree(repo, *commit.id, std::move(done)); });
}

Result<BlobId> Planner::name(const Folder& folder, const FoundFile& file) {
  auto opened = folder.open_file(file.place);
  if (!opened) return fail(opened);
  auto kind = kind_of_file(opened->fd.get(), file.size);
  if (!kind) return fail(kind);
  return hash_file(opened->fd.get(), file.size, *kind, stop_, hashed_);
}

// The folder's word: its listing, and what lies in it.
Result<WholeTree> Planner::attest(const Found& found, const RepoId& repo, FoundCommit& commit) {
  for (FoundFile* file : unnamed(commit)) {
    auto named = name(found.folder, *file);
    if (!named && named.error().code == Code::cancelled) return fail(named);
    if (named)
      file->blob = *named;
    else
      report_->skipped.push_back(refused(file->place, named.error()));
  }
  Attestation said{.repo = repo, .commit = *CommitId::parse(std::string(40, '0')),
                   .importer = request_.importer, .files = entries_of(commit)};
  const bool invented = !commit.id;
  if (invented) {
    auto id = commit_of(said.files);
    if (!id) return fail(id);
    commit.id = *id;
  }
  said.commit = *commit.id;
  auto tree = await<WholeTree>(stop_,
                               [&](auto done) { trees_.attest(std::move(said), std::move(done)); });
  if (!tree || !invented) return tree;
  if (auto set = set_ref(repo, {request_.revision, *commit.id}); !set) return fail(set);
  return tree;
}

Result<void> Planner::plan_commit(Found& found, const RepoId& repo, FoundCommit& commit) {
  auto tree = ask(repo, commit);
  std::string reason;
  if (!tree) {
    if (tree.error().code == Code::cancelled) return fail(tree);
    if (commit.files.empty() && commit.listing.empty()) return {};
    reason = tree.error().message;
    if (request_.confirmed_only) {
      report_->skipped.push_back({"snapshots/" + (commit.id ? commit.id->hex() : request_.revision),
                                  Skip::unconfirmed, std::move(reason)});
      return {};
    }
    tree = attest(found, repo, commit);
    if (!tree) return fail(tree);
  }
  ImportedCommit& made = report_->commits.emplace_back(ImportedCommit{
      .repo = repo, .commit = *commit.id, .self_attested = tree->self_attested, .reason = reason});
  made.files = tree->files.size();
  for (const TreeFile& file : tree->files) made.bytes += file.blob.size;
  return choose(found.folder, commit, *tree);
}

// Whether the folder's copy of what the store has already is right, too.
Result<bool> Planner::is_same(const Folder& folder, const FoundFile& file, const BlobInfo& blob) {
  if (!request_.compare || (file.blob && compared_.contains(file.blob->hex()))) return true;
  if (file.size != blob.size) {
    skip(file, Skip::wrong_bytes, fmt::format("it has {} bytes, and {} of {} are expected", file.size,
                                              blob.size, blob.id.hex()));
    return false;
  }
  auto opened = folder.open_file(file.place);
  auto hash = opened ? hash_file(opened->fd.get(), file.size, blob.id.kind(), stop_, hashed_)
                     : fail(opened);
  if (!hash && hash.error().code == Code::cancelled) return fail(hash);
  if (!hash) {
    report_->skipped.push_back(refused(file.place, hash.error()));
    return false;
  }
  if (file.blob) compared_.insert(file.blob->hex());
  if (*hash == blob.id) return true;
  skip(file, Skip::wrong_bytes,
       fmt::format("the hash of its bytes is {}, not {}", hash->hex(), blob.id.hex()));
  return false;
}

Result<void> Planner::choose(const Folder& folder, const FoundCommit& commit,
                             const WholeTree& tree) {
  ImportedCommit& made = report_->commits.back();
  std::map<std::string_view, const TreeFile*> by_path, by_hash;
  for (const TreeFile& file : tree.files) {
    by_path[file.path] = &file;
    by_hash[file.blob.id.hex()] = &file;
  }
  for (const FoundFile& file : commit.files) {
    const auto& known = file.blob ? by_hash : by_path;
    const auto found = known.find(file.blob ? file.blob->hex() : file.path);
    if (found == known.end()) {
      const auto there = by_path.find(file.path);
      const std::string has = there == by_path.end()
                                  ? "no such file"
                                  : fmt::format("{} under this name", there->second->blob.id.hex());
      skip(file, Skip::not_in_tree,
           fmt::format("commit {} has {}{}", made.commit.hex(), has,
                       file.blob ? ", and the folder " + file.blob->hex() : ""));
      continue;
    }
    const auto blob = store_.blob(found->second->blob.number);
    if (!blob) continue;
    if (blob->verified || planned_.contains(blob->number)) {
      auto same = is_same(folder, file, *blob);
      if (!same) return fail(same);
      if (!*same) continue;
      ++made.present_files;
      made.present_bytes += blob->size;
    } else if (file.size != blob->size) {
      skip(file, Skip::wrong_bytes,
           fmt::format("it has {} bytes, and {} of {} are expected", file.size, blob->size,
                       blob->id.hex()));
    } else {
      planned_.insert(blob->number);
      if (file.blob) compared_.insert(file.blob->hex());
      takes_.push_back({file.place, *blob, report_->commits.size() - 1});
    }
  }
  return {};
}

Result<void> Planner::set_ref(const RepoId& repo, const FoundRef& ref) {
  auto asked = await<CommitId>(
      stop_, [&](auto done) { trees_.ask_revision(repo, ref.revision, std::move(done)); });
  if (asked) return {};
  if (asked.error().code == Code::cancelled) return fail(asked);
  if (request_.confirmed_only) {
    report_->skipped.push_back(
        {"refs/" + ref.revision, Skip::unconfirmed, std::move(asked.error().message)});
    return {};
  }
  auto taken = await<bool>(stop_, [&](auto done) {
    trees_.attest_ref(repo, ref.revision, ref.commit, std::move(done));
  });
  if (!taken) return fail(taken);
  if (!*taken)
    report_->remarks.push_back(fmt::format(
        "refs/{} of {} is left alone: the Hub has said what it is, or the folder has no snapshot {}",
        ref.revision, repo.text(), ref.commit.hex()));
  return {};
}

}  // namespace hffs::carry
