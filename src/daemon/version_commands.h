// SPDX-License-Identifier: Apache-2.0
//
// What can be asked of a running daemon about versions: ls, ref, files; freeze and thaw; record and
// recorded. Threads: the control thread calls; answers come from any. Reads the index; nothing else
// blocks.
#pragma once

#include <map>
#include <memory>
#include <functional>
#include <nlohmann/json.hpp>

#include "control_server.h"
#include "hffs/catalog.h"
#include "hffs/frozen_refs.h"
#include "hffs/guarded.h"
#include "hffs/hub.h"
#include "hffs/recorder.h"
#include "hffs/versions.h"

namespace hffs {

class VersionCommands {
 public:
  struct Parts {
    Store& store;
    Origin& origin;
    std::shared_ptr<Catalog> catalog;
    Recorder& recorder;
    const Clock& clock;
    bool has_hub = true;  // else what a folder says is all that there is to hear
  };
  explicit VersionCommands(const Parts& parts)
      : parts_(parts),
        versions_(parts.store),
        frozen_(std::make_shared<FrozenRefs>(parts.store, parts.clock)) {}

  // Answers the command, or gives `done` back: it is another's.
  std::optional<Done<nlohmann::json>> answer(const Peer& peer, const nlohmann::json& request,
                                             const std::function<bool(const RepoId&)>& sees,
                                             Done<nlohmann::json> done);
  // {"from": 0}: repositories with their refs and commits, a page of them, of those that may be seen.
  Result<nlohmann::json> list(const nlohmann::json& request,
                              const std::function<bool(const RepoId&)>& sees,
                              const std::function<bool(const RepoId&)>& is_public) const;
  // {"from": 0}: the names of those that may be seen, more of them at once.
  Result<nlohmann::json> names(const nlohmann::json& request, const std::function<bool(const RepoId&)>& sees) const;
  // Those that hold for the peer; all of them for who decides for all.
  nlohmann::json frozen(const Peer& peer, const std::function<bool(const RepoId&)>& sees) const;

 private:
  // {"repo", "revision", "ask"}: what a ref reads: the index's word, what it is frozen at for the peer,
  // and, asked, the Hub's. Changes nothing.
  void ref(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  // {"repo", "commit", "ask", "from", "parts"}: a page of a commit's files; asked, the Hub's listing of it; with the parts of
  // those that are here in part.
  void files(const nlohmann::json& request, Done<nlohmann::json> done) const;
  // {"repo", "revision", "commit", "all"}.
  void freeze(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  void thaw(const Peer& peer, const nlohmann::json& request, Done<nlohmann::json> done) const;
  Result<nlohmann::json> record(const Peer& peer);
  // {"recording", "from"}: ends it; a page of what was read.
  Result<nlohmann::json> recorded(const Peer& peer, const nlohmann::json& request,
                                  const std::function<bool(const RepoId&)>& sees);

  const Parts parts_;
  Versions versions_;
  const std::shared_ptr<FrozenRefs> frozen_;
  // What ended recordings have told, until it is fetched; of the control thread alone.
  struct Told {
    pid_t root = 0;
    std::vector<ReadCommit> commits;
  };
  std::map<std::uint64_t, Told> told_;
};

}  // namespace hffs
