// SPDX-License-Identifier: Apache-2.0
//
// Catalog: the published tree, from names to nodes. It knows repositories, refs, commits and their
// trees, keeps them in the index and asks the origin for what is missing. It moves no file bytes and
// knows nothing of what clients write.
//
// A node id is structural: it stands for a row of the index (or for a position in a tree), names the
// same thing for ever, and outlives the process. Looking something up twice gives the same id; there
// is nothing to forget.
//
// Threads: any. Calls with a Done answer now if the index knows, else later, on the network or a
// store thread, with no lock held; they never block on the network. The others read the index (local
// disk) only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/access.h"
#include "hffs/clock.h"
#include "hffs/error.h"
#include "hffs/hub.h"
#include "hffs/ids.h"
#include "hffs/store.h"
#include "hffs/telemetry.h"
#include "hffs/trees.h"

namespace hffs {

enum class NodeKind : std::uint8_t {
  fixed = 0,        // FixedNode below
  repo = 1,         // repo number
  refs_root = 2,    // repo number
  blobs_root = 3,   // repo number
  snapshots = 4,    // repo number
  no_exist = 5,     // repo number
  trees = 6,        // repo number: a directory for clients' own files
  ref = 7,          // ref number: a file, or a directory of nested refs
  revision = 8,     // commit number: the symlink snapshots/REV, another node for another target
  tree = 9,         // commit number, position: position 0 is the snapshot itself
  no_exist_dir = 10,  // commit number, position: a directory of the tree, seen below .no_exist
  absent_file = 11,   // hash of commit and path: known not to be in the tree
  absent_dir = 12,    // the same, where the name reads like a directory
  blob = 13,          // blob number, incarnation
  overlay = 14,       // overlay number (owned by fs)
  frozen_ref = 15,    // commit number: a ref that reads it for good, another node for another commit
};

enum class FixedNode : std::uint8_t {
  root = 1,  // FUSE's root id
  cachedir_tag,
  version_txt,
  hub_link,
  locks,  // .locks: a directory for clients' own files
  control_link,
};

struct NodeId {
  std::uint64_t value = 0;
  auto operator<=>(const NodeId&) const = default;

  static constexpr int kKindShift = 58;
  static constexpr int kHalf = 29;
  static constexpr int kIncarnationBits = 24;

  static constexpr NodeId of(NodeKind kind, std::uint64_t payload) {
    return {static_cast<std::uint64_t>(kind) << kKindShift | payload};
  }
  static constexpr NodeId of(FixedNode node) {
    return of(NodeKind::fixed, static_cast<std::uint64_t>(node));
  }
  static constexpr NodeId in_commit(NodeKind kind, std::uint64_t commit, std::uint64_t position) {
    return of(kind, commit << kHalf | position);
  }
  static constexpr NodeId of_blob(std::uint64_t number, std::uint32_t incarnation) {
    return of(NodeKind::blob, number << kIncarnationBits |
                                  (incarnation & ((std::uint32_t{1} << kIncarnationBits) - 1)));
  }
  constexpr NodeKind kind() const { return static_cast<NodeKind>(value >> kKindShift); }
  constexpr std::uint64_t payload() const {
    return value & ((std::uint64_t{1} << kKindShift) - 1);
  }
  constexpr std::uint64_t commit() const { return payload() >> kHalf; }
  constexpr std::uint64_t position() const {
    return payload() & ((std::uint64_t{1} << kHalf) - 1);
  }
  constexpr std::uint64_t blob_number() const { return payload() >> kIncarnationBits; }
  constexpr std::uint32_t incarnation() const {
    return static_cast<std::uint32_t>(payload() & ((std::uint64_t{1} << kIncarnationBits) - 1));
  }
};
inline constexpr NodeId kRootNode = NodeId::of(FixedNode::root);

enum class FileKind : std::uint8_t { regular, directory, symlink };

struct Attr {
  FileKind kind = FileKind::regular;
  std::uint64_t inode = 0;  // st_ino: the same for all incarnations of a blob
  std::uint64_t size = 0;
  std::uint64_t bytes_here = 0;  // for st_blocks; never 0 for a file that is not empty
  WallTime modified{};
  std::uint32_t mode = 0644;  // permission bits
  uid_t owner = 0;
  gid_t group = 0;
  std::uint32_t links = 1;  // 0: removed, and still open
};

using Ttl = std::chrono::milliseconds;
struct Entry {
  NodeId node;  // 0: known not to exist, and that may be remembered for entry_ttl
  Attr attr;
  Ttl entry_ttl{0}, attr_ttl{0};
};

struct DirItem {
  std::string name;
  NodeId node;
  FileKind kind = FileKind::regular;
  std::uint64_t cookie = 0;  // continues behind this item; valid for ever, never 0
};

struct CatalogOptions {
  std::chrono::milliseconds ref_ttl{60'000};
  std::chrono::milliseconds missing_ttl{30'000};  // how long "the Hub has no such name" is believed
  std::string control_socket;                     // target of the control link; empty: none
  uid_t owner = 0; gid_t group = 0;               // whose published nodes are shown as
};

class Catalog : public Trees {
 public:
  static Result<std::unique_ptr<Catalog>> open(CatalogOptions options, Origin& origin, Store& store,
                                               AccessControl& access, const Clock& clock,
                                               Metrics& metrics);
  ~Catalog() override = default;
  virtual void stop() {}  // before the store goes: who walks may keep the catalog longer
  // A name in a published directory. Code::not_found: not there now (do not remember). An Entry with
  // node 0: not there, and remember for entry_ttl.
  virtual void lookup(const Caller& caller, NodeId parent, std::string_view name,
                      Done<Entry> done) = 0;
  virtual Result<Entry> attributes(NodeId node) = 0;
  virtual Result<std::string> read_link(NodeId node) = 0;
  // Items behind `cookie` (0: from the start), at most `most`; fewer only at the end. Waits for a
  // tree that is not complete.
  virtual void list(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most,
                    Done<std::vector<DirItem>> done) = 0;
  // The text of a fixed file or of a ref (its commit, no newline). Starts a refresh of a stale ref.
  virtual Result<std::string> read_text(NodeId node) = 0;
  // Whether the caller may see a repository that the node is of (a blob may be of many), by whatever way he came:
  // errors as in access.h. sees(): the same without a question; false where one is needed.
  virtual void admit(const Caller& caller, NodeId node, Done<void> done) = 0;
  virtual bool sees(const Caller& caller, NodeId node) = 0;
  // A client wrote a ref: ask the Hub for its value now. `name` below a directory of refs; or empty,
  // and `directory` is the ref itself.
  virtual void refresh_ref(NodeId directory, std::string_view name) = 0;
  // From where a blob's bytes can be fetched: at least one place, the likeliest first. A repository
  // may be gone or gated by now, or a commit squashed away, while another has the same content.
  virtual Result<std::vector<FileSource>> sources_of(std::uint64_t blob_number) = 0;
  // What stands beside the blob in its likeliest commit, as far as it is known (no request): files in
  // the order of the tree, from behind the blob's own place round to before it; at most `most`.
  struct KnownFile {
    std::string path;
    BlobInfo blob;
  };
  virtual std::vector<KnownFile> neighbours(std::uint64_t blob_number, std::size_t most) = 0;
  // "ORG/NAME@commit: path", for people.
  virtual std::string describe(NodeId node) = 0;
  // The repository of a node, where it has one.
  virtual std::optional<RepoId> repo_of(NodeId node) = 0;

  struct Usage {
    std::uint64_t repos = 0, commits = 0, files = 0;
    std::uint64_t self_attested = 0;  // commits (trees.h)
  };
  // Of those repositories that count.
  virtual Usage usage(const std::function<bool(const RepoId&)>& counts) const = 0;
  Usage usage() const { return usage([](const RepoId&) { return true; }); }
};

}  // namespace hffs
