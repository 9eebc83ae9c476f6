// SPDX-License-Identifier: Apache-2.0
//
// HubClient: the Origin that speaks to Hubs. It checks what it is given, and hands each call to the
// network thread. Threads: any; nothing blocks but the destructor, which waits for that thread.
#pragma once

#include "session.h"

namespace hffs::hub {

class HubClient final : public Origin {
 public:
  HubClient(const OriginOptions& options, std::vector<Endpoint> endpoints,
            std::shared_ptr<HttpLoop> loop, const Clock& clock, Metrics& metrics);
  ~HubClient() override;

  void fetch_revision(const RepoId& repo, const std::string& revision,
                      Done<RepoInfo> done) override;
  void look(const RepoId& repo, Done<RepoInfo> done) override;
  void check_access(const RepoId& repo, Secret token, Done<void> done) override;
  void ask_name(Secret token, Done<std::string> done) override;
  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string& cursor,
                       Done<TreePage> done) override;
  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override;
  void fetch_refs(const RepoId& repo, Done<RefList> done) override;
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override;
  std::vector<Health> health() const override;
  std::optional<std::uint32_t> files_left() const override;
  void stop() override;

 private:
  // Runs `work` on the network thread with the call's deadline, or completes `done` without it.
  template <class T>
  void call(Done<T> done, std::move_only_function<void(Instant, Done<T>)> work);

  std::shared_ptr<HttpLoop> loop_;
  Session session_;
  const Clock& clock_;
};

}  // namespace hffs::hub
