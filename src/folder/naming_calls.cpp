// SPDX-License-Identifier: Apache-2.0
//
// Trees. Files that the folder gives no hash for are hashed one after the other, each once while it
// stays what it is; that goes on when nobody waits any more, so that the next who asks is answered.

#include "folder_origin.h"
#include "hffs/naming.h"

namespace hffs::folder {
namespace {

// More names than one folder has; forgetting them costs time only.
constexpr std::size_t kMostHashes = 1'000'000;

}  // namespace

struct FolderOrigin::Naming {
  Listing listing;
  std::uint64_t call = 0;
  std::vector<FoundFile*> rest;
  std::size_t next = 0;
  Done<std::vector<TreeEntry>> done;
};

void FolderOrigin::fetch_tree(const RepoId& repo, const CommitId& commit, Done<TreePage> done) {
  ask<TreePage>(repo.layout(), std::move(done),
                [self = shared_from_this(), repo, commit](auto question) {
                  self->list(repo, commit, question->id, question->place,
                             [self, repo, commit, question](Result<Named> named) {
                               if (!named) return self->answer<TreePage>(question, fail(named));
                               if (named->commit != commit)
                                 return self->answer<TreePage>(
                                     question, fail(Code::not_found,
                                                    "{} in {} is not what it was at {}: it is {}",
                                                    repo.text(), self->options_.path, commit.hex(),
                                                    named->commit.hex()));
                               TreePage page{.entries = std::move(named->entries)};
                               page.attested_by = kFolderItself;
                               self->answer<TreePage>(question, std::move(page));
                             });
                });
}

void FolderOrigin::list_plain(const RepoId& repo, std::shared_ptr<Question<RepoInfo>> question) {
  list(repo, std::nullopt, question->id, question->place,
       [self = shared_from_this(), repo, question](Result<Named> named) {
         if (!named) return self->answer<RepoInfo>(question, fail(named));
         self->answer<RepoInfo>(question, RepoInfo{.id = repo,
                                                   .commit = named->commit,
                                                   .attested_by = kFolderItself});
       });
}

void FolderOrigin::list(const RepoId& repo, const std::optional<CommitId>& commit,
                        std::uint64_t call, const std::string& place, Done<Named> then) {
  read<Listing>(
      readers_, call, place,
      [repo, commit](Folder folder, const Io&) {
        return list_commit(std::move(folder), repo, commit);
      },
      [self = shared_from_this(), commit, call,
       then = std::move(then)](Result<Listing> listing) mutable {
        if (!listing) return then(fail(listing));
        const bool plain = listing->plain;
        auto naming = std::make_shared<Naming>();
        naming->listing = std::move(*listing);
        naming->call = call;
        naming->rest = unnamed(naming->listing.commit);
        naming->done = [plain, commit, then = std::move(then)](
                           Result<std::vector<TreeEntry>> entries) mutable {
          if (!entries) return then(fail(entries));
          auto id = plain ? commit_of(*entries) : Result<CommitId>(*commit);
          if (!id) return then(fail(id));
          then(Named{std::move(*id), std::move(*entries)});
        };
        self->name_next(naming);
      });
}

void FolderOrigin::name_next(std::shared_ptr<Naming> naming) {
  for (; naming->next < naming->rest.size(); ++naming->next) {
    FoundFile& file = *naming->rest[naming->next];
    const auto known = hashes_.find(file.place);
    if (known != hashes_.end() && known->second.stamp == file.stamp) {
      file.blob = known->second.blob;
      continue;
    }
    if (const auto call = calls_.find(naming->call); call != calls_.end())
      call->second.doing =
          fmt::format("; its files are being hashed, {} of {} so far", naming->next,
                      naming->rest.size());
    return hash(file.place, file.stamp,
                [self = shared_from_this(), naming](Result<BlobId> named) {
                  FoundFile& hashed = *naming->rest[naming->next];
                  if (named)
                    hashed.blob = *named;
                  else if (named.error().code == Code::denied)
                    log(Level::warn, "folder", "{} is left out: {}", hashed.place,
                        named.error().message);
                  else
                    return naming->done(fail(named));
                  ++naming->next;
                  self->name_next(naming);
                });
  }
  naming->done(entries_of(naming->listing.commit));
}

void FolderOrigin::hash(const std::string& place, const Stamp& stamp, Done<BlobId> done) {
  const auto known = hashes_.find(place);
  if (known != hashes_.end() && known->second.stamp == stamp) return done(known->second.blob);
  auto& waiters = hashing_[place];
  waiters.emplace_back(stamp, std::move(done));
  if (waiters.size() > 1) return;
  read<BlobId>(
      hashers_, 0, place,
      [place, stamp](const Folder& folder, const Io& io) {
        return name_content(folder, place, stamp, io);
      },
      [self = shared_from_this(), place, stamp](Result<BlobId> result) {
        self->hashed(place, stamp, result);
      });
}

void FolderOrigin::hashed(const std::string& place, const Stamp& stamp,
                          const Result<BlobId>& result) {
  if (result) {
    if (hashes_.size() >= kMostHashes) hashes_.clear();
    hashes_.insert_or_assign(place, Hashed{stamp, *result});
  }
  auto waiters = hashing_.extract(place);
  if (waiters.empty()) return;
  for (auto& [wanted, done] : waiters.mapped()) {
    if (wanted == stamp)
      done(result);
    else
      done(fail(Code::unreachable, "{}/{} changes while it is read", options_.path, place));
  }
}

}  // namespace hffs::folder
