// SPDX-License-Identifier: Apache-2.0
#include "hffs/frozen_refs.h"
#include "impl.h"

namespace hffs::catalog {
namespace {

Entry remembered_absence() {
  return Entry{.node = {}, .entry_ttl = kImmutable};
}

std::unexpected<Error> no_such(std::string_view name) {
  return fail(Code::not_found, "no such name: {}", name);
}

bool is_commit_name(std::string_view name) {
  return is_hex(name, 40) || is_hex(name, 64);
}

}  // namespace

void CatalogImpl::lookup(const Caller& caller, NodeId parent, std::string_view name,
                         Done<Entry> done) {
  Done<Entry> settled = [done = std::move(done)](Result<Entry> entry) mutable {
    if (!entry) return done(fail(as_lookup_error(std::move(entry.error()))));
    done(std::move(entry));
  };
  // Through a directory that was open before.
  if (parent.kind() != NodeKind::fixed && !sees(caller, parent))
    return admit(caller, parent,
                 [self = shared_from_this(), caller, parent, name = std::string(name),
                  settled = std::move(settled)](Result<void> admitted) mutable {
                   if (!admitted) return settled(fail(admitted));
                   self->lookup_below(caller, parent, name, std::move(settled));
                 });
  lookup_below(caller, parent, name, std::move(settled));
}

void CatalogImpl::lookup_below(const Caller& caller, NodeId parent, std::string_view name,
                               Done<Entry> settled) {
  const auto number = static_cast<RepoNumber>(parent.payload());
  switch (parent.kind()) {
    case NodeKind::fixed:
      if (parent == kRootNode) return lookup_root(caller, name, std::move(settled));
      return settled(no_such(name));
    case NodeKind::repo:
      return lookup_repo_child(parent, name, std::move(settled));
    case NodeKind::refs_root:
    case NodeKind::ref:
      return lookup_ref(caller, parent, name, std::move(settled));
    case NodeKind::snapshots:
      return lookup_snapshot(caller, parent, name, std::move(settled));
    case NodeKind::blobs_root:
      return lookup_blob(number, name, std::move(settled));
    case NodeKind::no_exist:
      return lookup_no_exist(parent, name, std::move(settled));
    case NodeKind::tree:
      return lookup_tree(parent, name, std::move(settled));
    case NodeKind::no_exist_dir:
      return lookup_no_exist_path(parent, name, std::move(settled));
    case NodeKind::absent_dir:
      return lookup_below_absent(parent, name, std::move(settled));
    default:
      return settled(no_such(name));
  }
}

void CatalogImpl::lookup_root(const Caller& caller, std::string_view name, Done<Entry> done) {
  for (const FixedName& fixed : kFixedNames) {
    if (fixed.name != name) continue;
    if (fixed.node == FixedNode::control_link && options_.control_socket.empty()) break;
    return done(attributes(NodeId::of(fixed.node)));
  }
  const auto id = RepoId::parse_layout(name);
  if (!id) return done(no_such(name));
  // The gate: every path walk through a repository asks here, unless everybody may pass for a while.
  // It comes before the index is looked at: what is not there and what is another's take the same way.
  auto passed = [self = shared_from_this(), id = *id,
                 done = std::move(done)](Result<Pass> pass) mutable {
    if (!pass) return done(fail(pass));
    auto entry = [self, ttl = pass->for_everybody](RepoNumber number) {
      auto found = self->attributes(NodeId::of(NodeKind::repo, number));
      if (found) found->entry_ttl = ttl;
      return found;
    };
    std::optional<RepoNumber> known;
    self->store_.read([&](const ReadTxn& txn) { known = find_repo(txn, id); });
    if (known) return done(entry(*known));
    if (pass->for_everybody.count() == 0) self->resolver_->believe(id);
    self->resolver_->find(id, "main",
                          [entry, done = std::move(done)](Result<Resolution> answer) mutable {
                            if (!answer) return done(fail(answer));
                            done(entry(answer->repo));
                          });
  };
  access_.decide(caller, *id, std::move(passed));
}

void CatalogImpl::lookup_repo_child(NodeId repo, std::string_view name, Done<Entry> done) {
  for (const RepoChild& child : kRepoChildren)
    if (child.name == name) return done(attributes(NodeId::of(child.kind, repo.payload())));
  done(no_such(name));
}

void CatalogImpl::lookup_ref(const Caller& caller, NodeId parent, std::string_view name,
                             Done<Entry> done) {
  const auto directory = ref_directory(parent);
  if (!directory) return done(fail(Code::stale, "not a directory of refs"));
  const auto revision = parse_revision(directory->prefix + std::string(name));
  if (!revision || is_side_name(name) || is_commit_name(name)) return done(no_such(name));
  std::optional<RefRow> row;
  std::optional<CommitId> frozen;
  bool frozen_below = false;
  store_.read([&](const ReadTxn& txn) {
    frozen = frozen_commit(txn, directory->repo.id, *revision, caller.uid);
    row = load_ref(txn, directory->repo.number, *revision);
    if (!row) frozen_below = has_frozen_below(txn, directory->repo.id, *revision, caller.uid);
  });
  if (frozen)
    return find_commit_node(NodeKind::frozen_ref, directory->repo.number, frozen->hex(),
                            std::move(done));
  if (row && (row->directory || row->commit != 0)) {
    if (!row->directory) resolver_->refresh(directory->repo, *revision, false);
    return done(attributes(NodeId::of(NodeKind::ref, row->number)));
  }
  // Of the way to a frozen ref the Hub need not know.
  if (frozen_below) return make_ref_directory(directory->repo, *revision, std::move(done));
  ask_ref(directory->repo, *revision, std::move(done));
}

void CatalogImpl::make_ref_directory(const RepoRow& repo, const std::string& revision,
                                     Done<Entry> done) {
  auto row = std::make_shared<RefRow>();
  store_.write(
      [this, repo = repo.number, revision, row](WriteTxn& txn) {
        *row = put_ref_directory(txn, repo, revision, clock_.wall());
      },
      [self = shared_from_this(), row, done = std::move(done)](Result<void> written) mutable {
        if (!written) return done(fail(written));
        done(self->attributes(NodeId::of(NodeKind::ref, row->number)));
      });
}

void CatalogImpl::ask_ref(const RepoRow& repo, const std::string& revision, Done<Entry> done) {
  auto as_node = [self = shared_from_this()](const RefRow& row) {
    return self->attributes(NodeId::of(NodeKind::ref, row.number));
  };
  if (is_builtin_ref_directory(revision))
    return make_ref_directory(repo, revision, std::move(done));
  resolver_->find(repo.id, revision,
                  [self = shared_from_this(), as_node, repo, revision,
                   done = std::move(done)](Result<Resolution> answer) mutable {
                    if (answer && answer->ref) return done(as_node(*answer->ref));
                    if (!answer && answer.error().code != Code::not_found)
                      return done(fail(answer));
                    self->resolver_->find_directory(
                        repo, revision,
                        [as_node, done = std::move(done)](Result<RefRow> row) mutable {
                          if (!row) return done(fail(row));
                          done(as_node(*row));
                        });
                  });
}

void CatalogImpl::lookup_snapshot(const Caller& caller, NodeId parent, std::string_view name,
                                  Done<Entry> done) {
  const auto number = static_cast<RepoNumber>(parent.payload());
  if (is_commit_name(name)) return find_commit_node(NodeKind::tree, number, name, std::move(done));
  const auto revision = parse_revision(name);
  const auto repo = repo_row(number);
  if (!revision || is_side_name(name) || !repo) return done(no_such(name));
  auto as_link = [self = shared_from_this()](const RefRow& ref) {
    return self->attributes(NodeId::in_commit(NodeKind::revision, ref.commit, 0));
  };
  std::optional<RefRow> row;
  std::optional<CommitId> frozen;
  store_.read([&](const ReadTxn& txn) {
    frozen = frozen_commit(txn, repo->id, *revision, caller.uid);
    row = load_ref(txn, number, *revision);
  });
  if (frozen) return find_commit_node(NodeKind::revision, number, frozen->hex(), std::move(done));
  if (row && row->commit != 0) {
    resolver_->refresh(*repo, *revision, false);
    return done(as_link(*row));
  }
  if (row && row->directory) return done(no_such(name));
  resolver_->find(
      repo->id, *revision,
      [as_link, revision = *revision, done = std::move(done)](Result<Resolution> answer) mutable {
        if (!answer) return done(fail(answer));
        if (!answer->ref) return done(no_such(revision));
        done(as_link(*answer->ref));
      });
}

void CatalogImpl::lookup_no_exist(NodeId parent, std::string_view name, Done<Entry> done) {
  if (!is_commit_name(name)) return done(no_such(name));
  find_commit_node(NodeKind::no_exist_dir, static_cast<RepoNumber>(parent.payload()), name,
                   std::move(done));
}

void CatalogImpl::find_commit_node(NodeKind kind, RepoNumber repo, std::string_view name,
                                   Done<Entry> done) {
  std::optional<CommitNumber> known;
  store_.read([&](const ReadTxn& txn) { known = find_commit(txn, repo, name); });
  if (known) return done(attributes(NodeId::in_commit(kind, *known, 0)));
  const auto id = CommitId::parse(name);
  if (!id) return done(no_such(name));
  trees_->discover(repo, *id,
                   [self = shared_from_this(), kind,
                    done = std::move(done)](Result<CommitNumber> number) mutable {
                     if (!number) return done(fail(number));
                     done(self->attributes(NodeId::in_commit(kind, *number, 0)));
                   });
}

void CatalogImpl::lookup_tree(NodeId parent, std::string_view name, Done<Entry> done) {
  const auto commit = static_cast<CommitNumber>(parent.commit());
  trees_->find(commit, static_cast<Position>(parent.position()), std::string(name),
               [self = shared_from_this(), commit, name = std::string(name),
                done = std::move(done)](Result<std::optional<Position>> found) mutable {
                 if (!found) return done(fail(found));
                 if (!*found) {
                   std::optional<CommitRow> row;
                   self->store_.read([&](const ReadTxn& txn) { row = load_commit(txn, commit); });
                   // The Hub may know more than a folder had.
                   if (!row || row->attested_by) return done(no_such(name));
                   return done(remembered_absence());
                 }
                 done(self->attributes(NodeId::in_commit(NodeKind::tree, commit, **found)));
               });
}

Entry CatalogImpl::absent_entry(CommitNumber commit, const std::string& path,
                                std::string_view name) {
  const bool directory = reads_like_directory(name);
  const NodeId node = absent_node(commit, path, directory);
  if (directory) {
    constexpr std::size_t kMost = 100'000;
    auto paths = absent_.lock();
    if (paths->size() >= kMost) paths->clear();
    (*paths)[node.value] = {commit, path};
  }
  auto entry = attributes(node);
  entry->entry_ttl = kNever;  // a client may make its own mark here
  return *entry;
}

void CatalogImpl::lookup_no_exist_path(NodeId parent, std::string_view name, Done<Entry> done) {
  if (is_side_name(name)) return done(no_such(name));
  const auto commit = static_cast<CommitNumber>(parent.commit());
  const auto position = static_cast<Position>(parent.position());
  trees_->find(
      commit, position, std::string(name),
      [self = shared_from_this(), commit, position, name = std::string(name),
       done = std::move(done)](Result<std::optional<Position>> found) mutable {
        if (!found) return done(fail(found));
        if (!*found) {
          std::string path;
          self->store_.read([&](const ReadTxn& txn) { path = path_of(txn, commit, position); });
          path = path.empty() ? name : path + '/' + name;
          if (path.size() > kMostRepoPath) return done(no_such(name));
          return done(self->absent_entry(commit, path, name));
        }
        std::optional<EntryRow> row;
        self->store_.read([&](const ReadTxn& txn) { row = load_entry(txn, commit, **found); });
        if (!row || row->kind == TreeEntry::Kind::file) return done(no_such(name));
        done(self->attributes(NodeId::in_commit(NodeKind::no_exist_dir, commit, **found)));
      });
}

void CatalogImpl::lookup_below_absent(NodeId parent, std::string_view name, Done<Entry> done) {
  AbsentPath above;
  {
    auto paths = absent_.lock();
    const auto found = paths->find(parent.value);
    if (found == paths->end()) return done(fail(Code::stale, "look the path up again"));
    above = found->second;
  }
  const std::string path = above.path + '/' + std::string(name);
  // Else who walks deeper and deeper would have it all remembered.
  if (is_side_name(name) || path.size() > kMostRepoPath) return done(no_such(name));
  done(absent_entry(above.commit, path, name));
}

void CatalogImpl::lookup_blob(RepoNumber repo, std::string_view name, Done<Entry> done) {
  if (!BlobId::parse(name)) return done(no_such(name));
  std::optional<std::uint64_t> blob;
  std::optional<CommitNumber> unread;  // a commit whose tree may still name it
  store_.read([&](const ReadTxn& txn) {
    blob = find_repo_blob(txn, repo, name);
    if (blob) return;
    visit_commits(txn, repo, {}, [&](std::string_view, std::uint64_t number) {
      const auto commit = load_commit(txn, static_cast<CommitNumber>(number));
      if (commit && !commit->complete && !trees_->is_gone(commit->number)) unread = commit->number;
      return !unread;
    });
  });
  if (blob) {
    const auto blob_info = store_.blob(*blob);
    if (!blob_info) return done(fail(Code::corrupt, "the index has no row of blob {}", name));
    return done(attributes(NodeId::of_blob(*blob, blob_info->incarnation)));
  }
  if (!unread) return done(no_such(name));
  trees_->complete(*unread, [self = shared_from_this(), repo, name = std::string(name),
                             done = std::move(done)](Result<void> complete) mutable {
    // A commit that the Hub has no more is passed over from now on.
    if (!complete && complete.error().code != Code::not_found) return done(fail(complete));
    self->lookup_blob(repo, name, std::move(done));
  });
}

}  // namespace hffs::catalog
