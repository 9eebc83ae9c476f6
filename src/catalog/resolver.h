// SPDX-License-Identifier: Apache-2.0
//
// Resolver: asks the Hub what a revision of a repository is, and writes the answer into the index.
// One question at a time for each (repository, revision), however many ask. A name that the Hub
// does not have is believed missing for `missing_ttl`; a failure to reach the Hub is never
// remembered. Threads: any; nothing blocks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "hffs/flight.h"
#include "hffs/guarded.h"
#include "hffs/catalog.h"
#include "index.h"
#include "hffs/recent.h"

namespace hffs::catalog {

struct Resolution {
  RepoNumber repo = 0;
  std::optional<RefRow> ref;  // nothing: the repository has no such revision
  bool attested = false;      // a folder says so
};

class Resolver : public std::enable_shared_from_this<Resolver> {
 public:
  Resolver(const CatalogOptions& options, Origin& origin, Store& store, AccessControl& access,
           const Clock& clock);

  // What everybody may know of a repository: asked without any user's token.
  void look(const RepoId& repo, Done<RepoInfo> done);

  // For who has looked and does not know it: asks, unless it is known by now, or known to be missing.
  void find(const RepoId& repo, const std::string& revision, Done<Resolution> done);
  // Somebody was just let in: that it is missing was another's answer.
  void believe(const RepoId& repo) { missing_.forget(repo.layout()); }
  // Somebody has more rights now than who asked before.
  void believe_again() { missing_.forget_all(); }
  // Asks now, unless the name is known to be missing.
  void resolve(const RepoId& repo, const std::string& revision, Done<Resolution> done);
  // Whether `path` is a directory of refs ("feature" where a branch "feature/x" exists): its row.
  void find_directory(const RepoRow& repo, const std::string& path, Done<RefRow> done);
  // Refreshes a ref behind the caller's back if it is older than ref_ttl; `now`: in any case, with a
  // question that is asked after this call.
  void refresh(const RepoRow& repo, const std::string& revision, bool now);
  // When the Hub said last what it means.
  std::optional<WallTime> confirmed(const RepoId& repo, const std::string& revision);

 private:
  std::optional<Resolution> load(const RepoId& repo, const std::string& revision) const;
  void ask(const RepoId& repo, const std::string& revision, const std::string& key);
  bool may_force();
  void ask_anew(const RepoId& repo, const std::string& revision);
  void ask_behind(const RepoId& repo, const std::string& revision);
  void settle(const RepoId& repo, const std::string& revision, const std::string& key,
              Result<RepoInfo> answer);
  void keep(const RepoId& repo, const std::string& revision, const RepoInfo& answer,
            Done<Resolution> done);
  void note_confirmed(const std::string& key);

  void put_attested(WriteTxn& txn, const std::string& revision, const RepoInfo& info,
                    Resolution& resolution);

  const CatalogOptions options_;
  Origin& origin_;
  Store& store_;
  AccessControl& access_;
  const Clock& clock_;
  Recent missing_, unseen_, fresh_;
  Guarded<std::unordered_map<std::string, WallTime>> confirmed_;
  struct Forced {
    Instant since{};
    int count = 0;
  };
  Guarded<Forced> forced_;  // refreshes of the last minute that somebody's write asked for
  Flight<Resolution> flights_;
  Flight<RepoInfo> looks_;
  Flight<RefRow> directories_;
};

}  // namespace hffs::catalog
