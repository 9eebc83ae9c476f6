// SPDX-License-Identifier: Apache-2.0
//
// Listings hold no state: a cookie is the number of the last item, from which the next key is
// found, so that a listing goes on across a restart of the daemon.
#include "impl.h"

namespace hffs::catalog {
namespace {

class Items {
 public:
  explicit Items(std::size_t most) : most_(most) {}
  // False once there is no room for another.
  bool add(std::string name, NodeId node, FileKind kind, std::uint64_t cookie) {
    items_.push_back({std::move(name), node, kind, cookie});
    return items_.size() < most_;
  }
  std::vector<DirItem> take() { return std::move(items_); }

 private:
  std::size_t most_;
  std::vector<DirItem> items_;
};

void list_root(const ReadTxn& txn, AccessControl& access, const Caller& caller,
               std::uint64_t cookie, Items& items) {
  visit_repos(txn, static_cast<RepoNumber>(cookie), [&](const RepoRow& repo) {
    return !access.lists(caller, repo.id) || items.add(repo.id.layout(), NodeId::of(NodeKind::repo, repo.number),
                     FileKind::directory, repo.number);
  });
}

void list_refs(const ReadTxn& txn, RepoNumber repo, const std::string& prefix, std::uint64_t cookie,
               Items& items) {
  std::string after;
  if (cookie != 0)
    if (const auto last = load_ref(txn, cookie)) after = last->revision.substr(prefix.size());
  visit_refs(txn, repo, prefix, after, [&](const RefRow& ref) {
    const std::string name = ref.revision.substr(prefix.size());
    if (name.find('/') != name.npos || (!ref.directory && ref.commit == 0)) return true;
    return items.add(name, NodeId::of(NodeKind::ref, ref.number),
                     ref.directory ? FileKind::directory : FileKind::regular, ref.number);
  });
}

void list_snapshots(const ReadTxn& txn, RepoNumber repo, std::uint64_t cookie, Items& items) {
  std::string after;
  if (cookie != 0)
    if (const auto last = load_commit(txn, static_cast<CommitNumber>(cookie)))
      after = last->id.hex();
  visit_commits(txn, repo, after, [&](std::string_view hex, std::uint64_t number) {
    return items.add(std::string(hex), NodeId::in_commit(NodeKind::tree, number, 0),
                     FileKind::directory, number);
  });
}

void list_blobs(const ReadTxn& txn, const Store& store, RepoNumber repo, std::uint64_t cookie,
                Items& items) {
  std::string after;
  if (cookie != 0)
    if (const auto last = store.find_blob(txn, cookie)) after = last->id.hex();
  visit_repo_blobs(txn, repo, after, [&](std::string_view hex, std::uint64_t number) {
    const auto blob = store.find_blob(txn, number);
    return !blob || items.add(std::string(hex), NodeId::of_blob(number, blob->incarnation),
                              FileKind::regular, number);
  });
}

void list_tree(const ReadTxn& txn, NodeId directory, std::uint64_t cookie, Items& items) {
  const auto commit = static_cast<CommitNumber>(directory.commit());
  std::string after;
  if (cookie != 0)
    if (const auto last = load_entry(txn, commit, static_cast<Position>(cookie)))
      after = last->name;
  const auto parent = static_cast<Position>(directory.position());
  visit_entries(txn, commit, parent, after,
                [&](std::string_view name, Position position, TreeEntry::Kind kind) {
                  return items.add(
                      std::string(name), NodeId::in_commit(NodeKind::tree, commit, position),
                      kind == TreeEntry::Kind::file ? FileKind::symlink : FileKind::directory,
                      position);
                });
}

}  // namespace

std::vector<DirItem> CatalogImpl::list_now(const Caller& caller, NodeId directory,
                                           std::uint64_t cookie, std::size_t most) {
  Items items(most);
  const auto number = static_cast<RepoNumber>(directory.payload());
  const auto refs = ref_directory(directory);
  store_.read([&](const ReadTxn& txn) {
    switch (directory.kind()) {
      case NodeKind::fixed:
        if (directory == kRootNode) list_root(txn, access_, caller, cookie, items);
        break;
      case NodeKind::refs_root:
      case NodeKind::ref:
        if (refs) list_refs(txn, refs->repo.number, refs->prefix, cookie, items);
        break;
      case NodeKind::snapshots:
        list_snapshots(txn, number, cookie, items);
        break;
      case NodeKind::blobs_root:
        list_blobs(txn, store_, number, cookie, items);
        break;
      case NodeKind::tree:
        list_tree(txn, directory, cookie, items);
        break;
      case NodeKind::repo: {
        std::uint64_t next = 0;
        for (const RepoChild& child : kRepoChildren) {
          if (++next <= cookie || !child.listed) continue;
          if (!items.add(std::string(child.name), NodeId::of(child.kind, number),
                         FileKind::directory, next))
            break;
        }
        break;
      }
      default:
        break;  // lookup-only directories
    }
  });
  return items.take();
}

void CatalogImpl::list(const Caller& caller, NodeId directory, std::uint64_t cookie,
                       std::size_t most, Done<std::vector<DirItem>> done) {
  auto answer = [self = shared_from_this(), caller, directory, cookie, most,
                 done = std::move(done)](Result<void> ready) mutable {
    if (!ready) return done(fail(ready));
    done(self->list_now(caller, directory, cookie, most));
  };
  auto gated = [self = shared_from_this(), directory,
                answer = std::move(answer)](Result<Pass> pass) mutable {
    if (!pass) return answer(fail(pass));
    if (directory.kind() != NodeKind::tree) return answer({});
    self->trees_->complete(static_cast<CommitNumber>(directory.commit()), std::move(answer));
  };
  const auto repo = repo_of(directory);
  if (!repo) return gated({});
  access_.decide(caller, *repo, std::move(gated));
}

}  // namespace hffs::catalog
