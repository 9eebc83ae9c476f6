// SPDX-License-Identifier: Apache-2.0
//
// The catalog's one class, in six files: lookup.cpp (names to nodes), attributes.cpp (what a node
// is), listing.cpp (a directory's items), whole_trees.cpp (commits as a whole), gate.cpp (who may), catalog.cpp
// (construction and the rest).
// Threads: see hffs/catalog.h. It keeps no lock across a call to another module.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "hffs/catalog.h"
#include "index.h"
#include "names.h"
#include "resolver.h"
#include "tree_loader.h"

namespace hffs::catalog {

class CatalogImpl final : public Catalog, public std::enable_shared_from_this<CatalogImpl> {
 public:
  CatalogImpl(CatalogOptions options, Origin& origin, Store& store, AccessControl& access,
              const Clock& clock, Metrics& metrics);

  void lookup(const Caller& caller, NodeId parent, std::string_view name,
              Done<Entry> done) override;
  Result<Entry> attributes(NodeId node) override;
  Result<std::string> read_link(NodeId node) override;
  void list(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most,
            Done<std::vector<DirItem>> done) override;
  Result<std::string> read_text(NodeId node) override;
  void refresh_ref(NodeId directory, std::string_view name) override;
  Result<std::vector<FileSource>> sources_of(std::uint64_t blob_number) override;
  std::vector<KnownFile> neighbours(std::uint64_t blob_number, std::size_t most) override;
  std::string describe(NodeId node) override;
  std::optional<RepoId> repo_of(NodeId node) override;
  void admit(const Caller& caller, NodeId node, Done<void> done) override;
  bool sees(const Caller& caller, NodeId node) override;
  Usage usage(const std::function<bool(const RepoId&)>& counts) const override;
  void ask_revision(const RepoId& repo, const std::string& revision, Done<CommitId> done) override;
  std::optional<WallTime> confirmed(const RepoId& repo, const std::string& revision) override {
    return resolver_->confirmed(repo, revision);
  }
  void ask_tree(const RepoId& repo, const CommitId& commit, Done<WholeTree> done) override;
  void attest(Attestation said, Done<WholeTree> done) override;
  void attest_ref(const RepoId& repo, const std::string& revision, const CommitId& commit,
                  Done<bool> done) override;
  std::vector<SelfAttested> self_attested(std::size_t most) const override;
  // Tells the gate what the index has, and hears from it. Once, before anything is asked.
  void connect_gate();
  void stop() override { trees_->stop(); }

 private:
  // lookup.cpp
  void lookup_below(const Caller& caller, NodeId parent, std::string_view name,
                    Done<Entry> settled);
  void lookup_root(const Caller& caller, std::string_view name, Done<Entry> done);
  void lookup_repo_child(NodeId repo, std::string_view name, Done<Entry> done);
  void lookup_ref(const Caller& caller, NodeId parent, std::string_view name, Done<Entry> done);
  void make_ref_directory(const RepoRow& repo, const std::string& revision, Done<Entry> done);
  void ask_ref(const RepoRow& repo, const std::string& revision, Done<Entry> done);
  void lookup_snapshot(const Caller& caller, NodeId parent, std::string_view name,
                       Done<Entry> done);
  void lookup_no_exist(NodeId parent, std::string_view name, Done<Entry> done);
  void find_commit_node(NodeKind kind, RepoNumber repo, std::string_view name, Done<Entry> done);
  void lookup_tree(NodeId parent, std::string_view name, Done<Entry> done);
  void lookup_no_exist_path(NodeId parent, std::string_view name, Done<Entry> done);
  void lookup_below_absent(NodeId parent, std::string_view name, Done<Entry> done);
  void lookup_blob(RepoNumber repo, std::string_view name, Done<Entry> done);
  Entry absent_entry(CommitNumber commit, const std::string& path, std::string_view name);
  Result<Entry> entry_of(NodeId node) { return attributes(node); }

  // attributes.cpp
  Attr attr_of(NodeId node, FileKind kind, std::uint64_t size, WallTime time) const;
  Result<Entry> fixed_attributes(NodeId node);
  Result<Entry> ref_attributes(NodeId node);
  Result<Entry> tree_attributes(NodeId node);
  Result<std::string> commit_text(NodeId node);
  Result<Entry> blob_attributes(NodeId node);

  // whole_trees.cpp
  void ask_commit(RepoNumber repo, const CommitId& commit, Done<WholeTree> done);
  Result<WholeTree> whole_tree(RepoNumber repo, const CommitId& commit);

  // listing.cpp
  std::vector<DirItem> list_now(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most);

  // gate.cpp
  bool visit_repos_of(NodeId node, const std::function<bool(const RepoId&)>& visit);
  void admit_to_one(const Caller& caller, std::vector<RepoId> repos, std::optional<Error> refusal,
                    Done<void> done);

  std::optional<RepoRow> repo_row(RepoNumber number);
  std::optional<RefRow> ref_row(std::uint64_t number);
  // Repository and path prefix ("", "refs/pr/") of a directory of refs.
  struct RefDirectory {
    RepoRow repo;
    std::string prefix;
  };
  std::optional<RefDirectory> ref_directory(NodeId node);

  const CatalogOptions options_;
  Store& store_;
  AccessControl& access_;
  const Clock& clock_;
  Metrics& metrics_;
  std::shared_ptr<Resolver> resolver_;
  std::shared_ptr<TreeLoader> trees_;

  // Paths behind absent_dir nodes: a lookup below one needs its path. Lost on restart; the kernel
  // is then answered ESTALE and walks down again.
  struct AbsentPath {
    CommitNumber commit = 0;
    std::string path;
  };
  Guarded<std::unordered_map<std::uint64_t, AbsentPath>> absent_;
};

}  // namespace hffs::catalog
