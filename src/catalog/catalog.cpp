// SPDX-License-Identifier: Apache-2.0
#include "hffs/catalog.h"

#include <unordered_set>

#include "impl.h"

namespace hffs {
namespace catalog {

CatalogImpl::CatalogImpl(CatalogOptions options, Origin& origin, Store& store,
                         AccessControl& access, const Clock& clock, Metrics& metrics)
    : options_(std::move(options)),
      store_(store),
      access_(access),
      clock_(clock),
      metrics_(metrics),
      resolver_(std::make_shared<Resolver>(options_, origin, store, access, clock)),
      trees_(std::make_shared<TreeLoader>(options_, origin, store, clock)) {}

std::optional<RepoRow> CatalogImpl::repo_row(RepoNumber number) {
  std::optional<RepoRow> row;
  store_.read([&](const ReadTxn& txn) { row = load_repo(txn, number); });
  return row;
}

std::optional<RefRow> CatalogImpl::ref_row(std::uint64_t number) {
  std::optional<RefRow> row;
  store_.read([&](const ReadTxn& txn) { row = load_ref(txn, number); });
  return row;
}

std::optional<CatalogImpl::RefDirectory> CatalogImpl::ref_directory(NodeId node) {
  RepoNumber number = 0;
  std::string prefix;
  if (node.kind() == NodeKind::refs_root) {
    number = static_cast<RepoNumber>(node.payload());
  } else if (node.kind() == NodeKind::ref) {
    const auto ref = ref_row(node.payload());
    if (!ref || !ref->directory) return {};
    number = ref->repo;
    prefix = ref->revision + '/';
  } else {
    return {};
  }
  auto repo = repo_row(number);
  if (!repo) return {};
  return RefDirectory{std::move(*repo), std::move(prefix)};
}

void CatalogImpl::refresh_ref(NodeId directory, std::string_view name) {
  if (name.empty()) {  // the ref itself
    const auto ref = ref_row(directory.payload());
    if (directory.kind() != NodeKind::ref || !ref || ref->directory) return;
    if (const auto repo = repo_row(ref->repo)) resolver_->refresh(*repo, ref->revision, true);
    return;
  }
  const auto above = ref_directory(directory);
  const auto revision = above ? parse_revision(above->prefix + std::string(name))
                              : fail(Code::not_found, "not a directory of refs");
  if (revision && !is_side_name(name)) resolver_->refresh(above->repo, *revision, true);
}

Result<std::vector<FileSource>> CatalogImpl::sources_of(std::uint64_t blob_number) {
  const auto blob = store_.blob(blob_number);
  std::vector<FileSource> open, sources;
  store_.read([&](const ReadTxn& txn) {
    if (!blob) return;
    for (const SourceRow& row : load_sources(txn, blob_number)) {
      const auto repo = load_repo(txn, row.repo);
      const auto commit = load_commit(txn, row.commit);
      std::string path = path_of(txn, row.commit, row.position);
      if (!repo || !commit || path.empty()) continue;
      FileSource source{repo->canonical, commit->id, std::move(path), blob->id, blob->size};
      // What is public is nobody's token's business.
      if (access_.is_open(repo->id)) open.push_back(std::move(source));
      else sources.push_back(std::move(source));
    }
  });
  sources.insert(sources.begin(), std::make_move_iterator(open.begin()),
                 std::make_move_iterator(open.end()));
  if (sources.empty())
    return fail(Code::not_found, "no repository is known to have blob number {}", blob_number);
  return sources;
}

std::optional<RepoId> CatalogImpl::repo_of(NodeId node) {
  std::optional<RepoRow> repo;
  store_.read([&](const ReadTxn& txn) {
    RepoNumber number = 0;
    switch (node.kind()) {
      case NodeKind::repo:
      case NodeKind::refs_root:
      case NodeKind::blobs_root:
      case NodeKind::snapshots:
      case NodeKind::no_exist:
      case NodeKind::trees:
        number = static_cast<RepoNumber>(node.payload());
        break;
      case NodeKind::ref:
        if (const auto ref = load_ref(txn, node.payload())) number = ref->repo;
        break;
      case NodeKind::revision:
      case NodeKind::frozen_ref:
      case NodeKind::tree:
      case NodeKind::no_exist_dir:
        if (const auto commit = load_commit(txn, static_cast<CommitNumber>(node.commit())))
          number = commit->repo;
        break;
      case NodeKind::blob:
        if (const auto source = first_source(txn, node.blob_number())) number = source->repo;
        break;
      default:
        break;
    }
    if (number != 0) repo = load_repo(txn, number);
  });
  if (!repo) return {};
  return repo->id;
}


std::vector<Catalog::KnownFile> CatalogImpl::neighbours(std::uint64_t blob_number,
                                                        std::size_t most) {
  std::vector<KnownFile> files;
  store_.read([&](const ReadTxn& txn) {
    const auto sources = load_sources(txn, blob_number);
    if (sources.empty()) return;
    // As its bytes are asked for: a public one first, or what stands beside it may be another's.
    const auto open = std::ranges::find_if(sources, [&](const SourceRow& row) {
      const auto its = load_repo(txn, row.repo);
      return its && access_.is_open(its->id);
    });
    const auto [repo, number, own] = open != sources.end() ? *open : sources.front();
    if (!load_commit(txn, number)) return;
    const auto take = [&](const EntryRow& entry) {
      if (files.size() >= most) return false;
      if (entry.kind != TreeEntry::Kind::file) return true;
      if (auto blob = store_.find_blob(txn, entry.blob))
        files.push_back({path_of(txn, number, entry.position), std::move(*blob)});
      return true;
    };
    // Those behind it first, then from the beginning.
    visit_tree(txn, number, own, take);
    visit_tree(txn, number, 0, [&](const EntryRow& entry) { return entry.position < own && take(entry); });
  });
  return files;
}

std::string CatalogImpl::describe(NodeId node) {
  if (node.kind() == NodeKind::blob) {
    const auto sources = sources_of(node.blob_number());
    if (!sources) return fmt::format("blob number {}", node.blob_number());
    const FileSource& source = sources->front();
    return fmt::format("{}@{}: {}", source.repo.text(), source.commit.hex().substr(0, 12),
                       source.path);
  }
  const auto repo = repo_of(node);
  if (!repo) return fmt::format("node {:#x}", node.value);
  if (node.kind() != NodeKind::tree && node.kind() != NodeKind::no_exist_dir) return repo->text();
  std::string path, commit_hex;
  store_.read([&](const ReadTxn& txn) {
    const auto number = static_cast<CommitNumber>(node.commit());
    path = path_of(txn, number, static_cast<Position>(node.position()));
    if (const auto commit = load_commit(txn, number)) commit_hex = commit->id.hex();
  });
  return fmt::format("{}@{}: {}", repo->text(), commit_hex.substr(0, 12), path);
}

Catalog::Usage CatalogImpl::usage(const std::function<bool(const RepoId&)>& counts) const {
  Usage usage;
  store_.read([&](const ReadTxn& txn) {
    std::unordered_set<RepoNumber> counted;
    visit_repos(txn, 0, [&](const RepoRow& repo) {
      if (counts(repo.id)) counted.insert(repo.number);
      return true;
    });
    usage.repos = counted.size();
    visit_all_commits(txn, [&](const CommitRow& commit) {
      if (!counted.contains(commit.repo)) return true;
      ++usage.commits;
      usage.files += commit.files;
      if (commit.attested_by) ++usage.self_attested;
      return true;
    });
  });
  return usage;
}

namespace {

// What the owner holds: completions that are still to come keep the catalog itself alive.
class Handle final : public Catalog {
 public:
  explicit Handle(std::shared_ptr<CatalogImpl> impl) : impl_(std::move(impl)) {}
  ~Handle() override { impl_->stop(); }
  void stop() override { impl_->stop(); }

  void lookup(const Caller& caller, NodeId parent, std::string_view name,
              Done<Entry> done) override {
    impl_->lookup(caller, parent, name, std::move(done));
  }
  Result<Entry> attributes(NodeId node) override { return impl_->attributes(node); }
  Result<std::string> read_link(NodeId node) override { return impl_->read_link(node); }
  void list(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most,
            Done<std::vector<DirItem>> done) override {
    impl_->list(caller, directory, cookie, most, std::move(done));
  }
  Result<std::string> read_text(NodeId node) override { return impl_->read_text(node); }
  void refresh_ref(NodeId directory, std::string_view name) override {
    impl_->refresh_ref(directory, name);
  }
  Result<std::vector<FileSource>> sources_of(std::uint64_t number) override {
    return impl_->sources_of(number);
  }
  std::vector<KnownFile> neighbours(std::uint64_t number, std::size_t most) override {
    return impl_->neighbours(number, most);
  }
  std::string describe(NodeId node) override { return impl_->describe(node); }
  std::optional<RepoId> repo_of(NodeId node) override { return impl_->repo_of(node); }
  void admit(const Caller& caller, NodeId node, Done<void> done) override {
    impl_->admit(caller, node, std::move(done));
  }
  bool sees(const Caller& caller, NodeId node) override { return impl_->sees(caller, node); }
  Usage usage(const std::function<bool(const RepoId&)>& counts) const override {
    return impl_->usage(counts);
  }
  void ask_revision(const RepoId& repo, const std::string& revision,
                    Done<CommitId> done) override {
    impl_->ask_revision(repo, revision, std::move(done));
  }
  std::optional<WallTime> confirmed(const RepoId& repo, const std::string& revision) override {
    return impl_->confirmed(repo, revision);
  }
  void ask_tree(const RepoId& repo, const CommitId& commit, Done<WholeTree> done) override {
    impl_->ask_tree(repo, commit, std::move(done));
  }
  void attest(Attestation said, Done<WholeTree> done) override {
    impl_->attest(std::move(said), std::move(done));
  }
  void attest_ref(const RepoId& repo, const std::string& revision, const CommitId& commit,
                  Done<bool> done) override {
    impl_->attest_ref(repo, revision, commit, std::move(done));
  }
  std::vector<SelfAttested> self_attested(std::size_t most) const override {
    return impl_->self_attested(most);
  }

 private:
  std::shared_ptr<CatalogImpl> impl_;
};

}  // namespace
}  // namespace catalog

Result<std::unique_ptr<Catalog>> Catalog::open(CatalogOptions options, Origin& origin, Store& store,
                                               AccessControl& access, const Clock& clock,
                                               Metrics& metrics) {
  auto impl = std::make_shared<catalog::CatalogImpl>(std::move(options), origin, store, access,
                                                     clock, metrics);
  impl->connect_gate();
  return std::make_unique<catalog::Handle>(std::move(impl));
}

}  // namespace hffs
