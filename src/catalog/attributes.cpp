// SPDX-License-Identifier: Apache-2.0
#include "impl.h"

namespace hffs::catalog {
namespace {

std::unexpected<Error> unknown(NodeId node) {
  return fail(Code::stale, "node {:#x} names nothing", node.value);
}

}  // namespace

// Published nodes belong to whoever runs the daemon.
Attr CatalogImpl::attr_of(NodeId node, FileKind kind, std::uint64_t size, WallTime time) const {
  return Attr{.kind = kind,
              .inode = node.value,
              .size = size,
              .bytes_here = size,
              .modified = time,
              .mode = kind == FileKind::directory ? 0755u
                      : kind == FileKind::symlink ? 0777u
                                                  : 0644u,
              .owner = options_.owner,
              .group = options_.group};
}

Result<Entry> CatalogImpl::attributes(NodeId node) {
  switch (node.kind()) {
    case NodeKind::fixed:
      return fixed_attributes(node);
    case NodeKind::repo:
    case NodeKind::refs_root:
    case NodeKind::blobs_root:
    case NodeKind::snapshots:
    case NodeKind::no_exist:
    case NodeKind::trees: {
      const auto repo = repo_row(static_cast<RepoNumber>(node.payload()));
      if (!repo) return unknown(node);
      return Entry{node, attr_of(node, FileKind::directory, 0, repo->first_seen),
                   kImmutable, kImmutable};
    }
    case NodeKind::ref:
      return ref_attributes(node);
    case NodeKind::revision:
    case NodeKind::tree:
    case NodeKind::no_exist_dir:
    case NodeKind::frozen_ref:
      return tree_attributes(node);
    case NodeKind::absent_file:
      return Entry{node, attr_of(node, FileKind::regular, 0, WallTime{}), kNever, kImmutable};
    case NodeKind::absent_dir:
      return Entry{node, attr_of(node, FileKind::directory, 0, WallTime{}), kNever, kImmutable};
    case NodeKind::blob:
      return blob_attributes(node);
    case NodeKind::overlay:
      break;
  }
  return unknown(node);
}

Result<Entry> CatalogImpl::fixed_attributes(NodeId node) {
  if (node == kRootNode)
    return Entry{node, attr_of(node, FileKind::directory, 0, WallTime{}), kImmutable, kImmutable};
  for (const FixedName& fixed : kFixedNames) {
    if (NodeId::of(fixed.node) != node) continue;
    std::uint64_t size = 0;
    if (fixed.kind == FileKind::symlink) {
      if (const auto target = read_link(node)) size = target->size();
    } else if (fixed.kind == FileKind::regular) {
      if (const auto text = read_text(node)) size = text->size();
    }
    return Entry{node, attr_of(node, fixed.kind, size, WallTime{}), kImmutable, kImmutable};
  }
  return unknown(node);
}

Result<Entry> CatalogImpl::ref_attributes(NodeId node) {
  const auto ref = ref_row(node.payload());
  if (!ref) return unknown(node);
  if (ref->directory)
    return Entry{node, attr_of(node, FileKind::directory, 0, ref->changed), kNever, kImmutable};
  std::optional<CommitRow> commit;
  store_.read([&](const ReadTxn& txn) { commit = load_commit(txn, ref->commit); });
  if (!commit) return fail(Code::not_found, "refs/{} is gone from the Hub", ref->revision);
  // A move must be seen at the next open.
  return Entry{node, attr_of(node, FileKind::regular, commit->id.hex().size(), ref->changed),
               kNever, kNever};
}

Result<Entry> CatalogImpl::tree_attributes(NodeId node) {
  const auto number = static_cast<CommitNumber>(node.commit());
  const auto position = static_cast<Position>(node.position());
  std::optional<CommitRow> commit;
  std::optional<EntryRow> row;
  store_.read([&](const ReadTxn& txn) {
    commit = load_commit(txn, number);
    if (position != 0) row = load_entry(txn, number, position);
  });
  if (!commit || (position != 0 && !row)) return unknown(node);
  // Another target is another node, which the next lookup of the name finds.
  if (node.kind() == NodeKind::revision)
    return Entry{node, attr_of(node, FileKind::symlink, commit->id.hex().size(), commit->time),
                 kNever, kImmutable};
  if (node.kind() == NodeKind::frozen_ref)
    return Entry{node, attr_of(node, FileKind::regular, commit->id.hex().size(), commit->time),
                 kNever, kImmutable};
  const bool file = row && row->kind == TreeEntry::Kind::file;
  const std::uint64_t size = file ? pointer_size(row->depth, row->hex_length) : 0;
  const FileKind kind = file ? FileKind::symlink : FileKind::directory;
  // The Hub may still say otherwise, and then the name leads elsewhere.
  const Ttl name_ttl = commit->attested_by ? kMoment : kImmutable;
  return Entry{node, attr_of(node, kind, size, commit->time), name_ttl, kImmutable};
}

Result<Entry> CatalogImpl::blob_attributes(NodeId node) {
  const auto blob = store_.blob(node.blob_number());
  if (!blob) return unknown(node);
  WallTime time{};
  store_.read([&](const ReadTxn& txn) {
    if (const auto source = first_source(txn, blob->number))
      if (const auto commit = load_commit(txn, source->commit)) time = commit->time;
  });
  Entry entry{node, attr_of(node, FileKind::regular, blob->size, time), kImmutable,
              blob->verified ? kImmutable : kMoment};
  // One content, one inode number, whatever its incarnation.
  entry.attr.inode = NodeId::of_blob(blob->number, 0).value;
  entry.attr.bytes_here = blob->verified ? blob->size : blob->bytes_here;
  if (blob->size != 0 && entry.attr.bytes_here == 0) entry.attr.bytes_here = 1;
  // The name leads to another node once the blob is verified or quarantined.
  if (!blob->verified) entry.entry_ttl = kMoment;
  return entry;
}

Result<std::string> CatalogImpl::commit_text(NodeId node) {
  std::optional<CommitRow> commit;
  store_.read([&](const ReadTxn& txn) {
    commit = load_commit(txn, static_cast<CommitNumber>(node.commit()));
  });
  if (!commit) return unknown(node);
  return commit->id.hex();
}

Result<std::string> CatalogImpl::read_link(NodeId node) {
  switch (node.kind()) {
    case NodeKind::fixed:
      if (node == NodeId::of(FixedNode::hub_link)) return ".";
      if (node == NodeId::of(FixedNode::control_link)) return options_.control_socket;
      break;
    case NodeKind::revision:
      return commit_text(node);
    case NodeKind::tree: {
      std::optional<EntryRow> row;
      store_.read([&](const ReadTxn& txn) {
        row = load_entry(txn, static_cast<CommitNumber>(node.commit()),
                         static_cast<Position>(node.position()));
      });
      if (!row || row->kind != TreeEntry::Kind::file) return unknown(node);
      const auto blob = store_.blob(row->blob);
      if (!blob) return fail(Code::corrupt, "the index has no row of the blob of {}", row->name);
      return pointer_target(row->depth, blob->id.hex());
    }
    default:
      break;
  }
  return fail(Code::invalid, "not a symbolic link");
}

Result<std::string> CatalogImpl::read_text(NodeId node) {
  if (node == NodeId::of(FixedNode::cachedir_tag)) return std::string(kCachedirTag);
  if (node == NodeId::of(FixedNode::version_txt)) return std::string(kVersionTxt);
  if (node.kind() == NodeKind::absent_file) return std::string();
  if (node.kind() == NodeKind::frozen_ref) return commit_text(node);
  if (node.kind() != NodeKind::ref) return fail(Code::invalid, "not a text file");
  const auto ref = ref_row(node.payload());
  if (!ref) return unknown(node);
  if (ref->directory) return fail(Code::is_directory, "refs/{} is a directory", ref->revision);
  std::optional<CommitRow> commit;
  std::optional<RepoRow> repo;
  store_.read([&](const ReadTxn& txn) {
    commit = load_commit(txn, ref->commit);
    repo = load_repo(txn, ref->repo);
  });
  if (!commit || !repo) return fail(Code::not_found, "refs/{} is gone from the Hub", ref->revision);
  resolver_->refresh(*repo, ref->revision, false);
  return commit->id.hex();
}

}  // namespace hffs::catalog
