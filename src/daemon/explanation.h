// SPDX-License-Identifier: Apache-2.0
//
// Explanation: a walk along a path of the mount as a client would make it, which notes what it meets: the repository and
// the verdict for who asks, the ref and its commit, the file and how much of it is here. Threads: any; the walk goes on
// where gate and catalog answer.
#pragma once

#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "activity_commands.h"

namespace hffs {

// What who asks may hear.
struct Viewer {
  Peer peer;
  const ActivityCommands::Parts& parts;

  Caller caller() const { return {peer.uid, peer.gid, peer.pid}; }
  bool hears_of(uid_t user) const;
  bool sees(const RepoId& repo) const;
  // A place of the node that he may know: {"repo", "commit", "path"}, each null where there is none.
  nlohmann::json place_of(NodeId node) const;
  nlohmann::json tell(const Activity::Failure& failure) const;
};

// For each of up to 64 equal parts of a file, how much of it is here, in percent.
nlohmann::json here_by_part(const Blob& blob);

class Explanation : public std::enable_shared_from_this<Explanation> {
 public:
  static void begin(std::shared_ptr<const ActivityCommands::Parts> parts, const Peer& peer, std::string path,
                    Done<nlohmann::json> done);

 private:
  Explanation(std::shared_ptr<const ActivityCommands::Parts> parts, const Peer& peer, std::string path,
              Done<nlohmann::json> done);
  void judge(const RepoId& repo);
  void step();
  void follow(NodeId link, const std::string& name);
  void arrive();
  void note_ref(NodeId node);
  void note_blob(NodeId node);
  void stop_at(const std::string& name, const Error& error);
  void finish();

  const std::shared_ptr<const ActivityCommands::Parts> parts_;
  const Viewer viewer_;
  std::deque<std::string> names_;   // still to be walked
  std::vector<NodeId> above_;       // the directories that were, the root first
  std::string walked_;
  std::optional<RepoId> repo_;
  int links_ = 0;
  nlohmann::json answer_;
  Done<nlohmann::json> done_;
};

}  // namespace hffs
