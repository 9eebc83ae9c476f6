// SPDX-License-Identifier: Apache-2.0
//
// Origin: where names and bytes come from; and the Hub, the first of them.
//
// Every call is asynchronous: it returns at once, and its Done or RangeSink hears exactly once, on
// the network thread, with no lock held. Completions must not block. Calls may come from any thread.
// Ids in requests and answers are validated (hffs/ids.h): nothing unchecked leaves this module.
//
// Metadata calls retry transient failures themselves, within `OriginOptions::metadata_deadline`; while
// every endpoint is known to be down they fail at once with Code::unreachable and a probe goes out
// behind. Range reads are one attempt each: who wants bytes owns the deadline (transfer.h).
//
// Sources: the Hub's HTTP interface as huggingface_hub 2.4.0 uses it (file_download.py, hf_api.py,
// utils/_http.py); details and traps in docs/HUB_PROTOCOL.md.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "hffs/bytes.h"
#include "hffs/clock.h"
#include "hffs/credentials.h"
#include "hffs/error.h"
#include "hffs/ids.h"
#include "hffs/telemetry.h"

namespace hffs {

constexpr uid_t kFolderItself = static_cast<uid_t>(-1);  // no user's

struct RepoInfo {
  RepoId id;        // canonical: differs from the id asked for after a rename
  std::optional<CommitId> commit;  // what the revision resolves to; nothing: no such revision
  WallTime last_modified{};
  bool tells_access = false;  // the two below were said
  bool is_private = false, is_gated = false;
  // A folder's word, not the Hub's (trees.h: self-attested); and who vouches for it: kFolderItself, since
  // an origin can be asked again, where an import has its user.
  std::optional<uid_t> attested_by;
};

struct TreeEntry {
  enum class Kind : std::uint8_t { file, directory };
  Kind kind = Kind::file;
  std::string path;            // parse_repo_path() holds
  std::uint64_t size = 0;      // files: the content's size (lfs.size where there is one)
  std::optional<BlobId> blob;  // files: lfs.oid, else oid
};

struct TreePage {
  std::vector<TreeEntry> entries;
  std::optional<std::string> next;  // opaque; give it back to fetch_tree_page
  // What is left of the endpoint's budget of metadata calls, where it says so.
  std::optional<std::uint32_t> calls_left;
  std::optional<uid_t> attested_by;  // as in RepoInfo; such a page is the whole tree
};

struct RefList {
  struct Ref {
    std::string revision;  // "main", "v1.0", "refs/pr/1", "refs/convert/parquet"
    CommitId commit;
  };
  std::vector<Ref> refs;
};

// One file of one commit: what a range is read from, and what its answers must agree with.
struct FileSource {
  RepoId repo;
  CommitId commit;
  std::string path;
  BlobId blob;
  std::uint64_t size = 0;
};

enum class Flow : std::uint8_t { more, pause, stop };

// Receives one range. All calls come from the network thread, in order: on_start, on_data…, on_done.
// If the fetch fails early on_start may be missing; on_done never is.
class RangeSink {
 public:
  virtual ~RangeSink() = default;
  // What will be delivered. It may be wider than what was asked for: an origin that ignores ranges
  // sends the whole file from 0. It never starts after the requested offset.
  virtual void on_start(ByteRange delivered) = 0;
  // Consecutive bytes at `offset`. Flow::pause: nothing was taken; the same bytes come again after
  // RangeFetch::resume(). Flow::stop: no more is wanted; on_done hears Code::cancelled.
  virtual Flow on_data(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  // Success means that exactly the delivered range arrived.
  virtual void on_done(Result<void> result) = 0;
};

// A handle on a running range. Any thread. Dropping it does not cancel.
class RangeFetch {
 public:
  virtual ~RangeFetch() = default;
  virtual void resume() = 0;
  virtual void cancel() = 0;  // on_done hears Code::cancelled unless it has been called already
};

class Origin {
 public:
  virtual ~Origin() = default;

  // Revision → commit. The answer tells a repository that has no such revision (`commit` empty) from
  // one that does not exist for us (Code::not_found), as far as the endpoint does.
  virtual void fetch_revision(const RepoId& repo, const std::string& revision,
                              Done<RepoInfo> done) = 0;
  // What everybody may know of a repository: as fetch_revision() of "main", with no user's token.
  virtual void look(const RepoId& repo, Done<RepoInfo> done) {
    fetch_revision(repo, "main", std::move(done));
  }
  // Whether this token may read the repository's files. not_found: it does not exist for the token. denied,
  // needs_login: it may not, the latter also where the token is no good. By auth-check, or a HEAD of a file.
  virtual void check_access(const RepoId& repo, Secret /*token*/, Done<void> done) {
    done(fail(Code::not_found, "{}: nobody is asked who may read it", repo.text()));
  }
  // Whose token it is, as the Hub calls them. needs_login: it is no good. unsupported: the endpoint cannot tell.
  virtual void ask_name(Secret /*token*/, Done<std::string> done) {
    done(fail(Code::unsupported, "no Hub is asked"));
  }
  // One page of a commit's recursive tree; `cursor` empty for the first.
  virtual void fetch_tree_page(const RepoId& repo, const CommitId& commit,
                               const std::string& cursor, Done<TreePage> done) = 0;
  // Entries of some paths (at most 100). Paths that the commit does not have are left out. Uses
  // paths-info; where the endpoint lacks it, a HEAD on each path, then a look for a directory.
  virtual void fetch_paths(const RepoId& repo, const CommitId& commit,
                           std::vector<std::string> paths, Done<std::vector<TreeEntry>> done) = 0;
  // All branches, tags, converts and pull requests.
  virtual void fetch_refs(const RepoId& repo, Done<RefList> done) = 0;
  // Bytes. `range` is not empty and lies inside the file.
  virtual std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                                  std::shared_ptr<RangeSink> sink) = 0;

  struct Health {
    std::string endpoint;
    bool up = true;
    std::string last_error;  // empty while up
  };
  virtual std::vector<Health> health() const = 0;

  // How many more files may be asked for now, as far as the origin has said: fetch_range() beyond
  // that is refused for minutes. Any thread.
  virtual std::optional<std::uint32_t> files_left() const { return std::nullopt; }

  // Bytes that came for this content did not have its hash. An origin that can give nothing else
  // for it gives no more of it. Any thread; nothing blocks.
  virtual void note_wrong(const BlobId&, std::uint64_t /*size*/) {}

  // Ends the network: calls still open, and all later ones, hear Code::cancelled. Blocks until the
  // network thread has gone; not from a completion. Nothing to do for an origin without a thread.
  virtual void stop() {}
};

struct OriginOptions {
  std::vector<std::string> endpoints{"https://huggingface.co"};  // tried in order
  Secret token;                                                  // the daemon's own service token
  Credentials* credentials = nullptr;  // of users; outlives the origin. Null: there are none
  std::string ca_bundle;  // a file or a directory; empty: the system's, system_ca_bundles()
  // Where redirects may lead though it is no public address: hosts, or ".suffix"; lower case.
  std::vector<std::string> internal_hosts;
  ProxyChoice proxy;
  std::string user_agent = "hffs";
  bool offline = false;  // every call fails at once with Code::offline
  std::chrono::milliseconds metadata_deadline{8'000};  // whole call, retries included
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds stall_timeout{15'000};  // no byte for this long ends a transfer
  int connections = 27;  // at most, to one host; a quarter of them is not for ranges: 21 are
  std::chrono::milliseconds probe_interval{1'000};  // Tests: the retry and probe pace
};

// Starts the network thread. The destructor stops it; every call still open hears Code::cancelled before it returns.
Result<std::unique_ptr<Origin>> open_hub(OriginOptions options, const Clock& clock, Metrics& metrics);
// What is trusted where no bundle is named: a file, a directory, as libcurl was built. Any thread; blocks on nothing.
std::vector<std::string> system_ca_bundles();

}  // namespace hffs
