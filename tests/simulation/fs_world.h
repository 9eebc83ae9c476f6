// SPDX-License-Identifier: Apache-2.0
//
// The file system over a real store and catalog, before a Hub that changes: what a user sees is what the Hub had.
// Threads: one, beside those of the store, the catalog and the Hub.
#pragma once

#include "fs_hub.h"

namespace hffs::test {

class FsWorld {
 public:
  explicit FsWorld(Trial& trial);
  ~FsWorld() { close(); }

  void step(Dice& dice);

 private:
  void open();
  void close();
  void settle();  // nothing is under way any more
  void change_hub(Dice& dice);
  void change_refs(Dice& dice, const std::string& name);
  Tree next_tree(Dice& dice, Tree tree) const;

  void look_at_ref(Dice& dice);
  void look_at_path(Dice& dice);
  void look_at_listing(Dice& dice);
  void look_at_revision(Dice& dice);
  void check_file(const std::string& repo, const std::string& commit, const std::string& path, NodeId link,
                  std::size_t text);
  // Whether this must be seen now, if the Hub has it since then.
  bool must_be_known(const HubRepo& repo, Instant since) const;
  bool healthy() const { return hub_.fault_percent == 0; }
  const std::string& any_repo(Dice& dice) const;
  static std::string any_path(Dice& dice);

  Result<Entry> lookup(NodeId parent, std::string_view name);
  Result<Entry> walk(const std::string& path);
  static bool is_there(const Result<Entry>& entry) { return entry && entry->node.value != 0; }

  static constexpr Caller kUser{1'001, 1'001, 1};
  static constexpr std::chrono::seconds kRefTtl{60}, kMissingTtl{30}, kRefreshPause{1};

  Trial& trial_;
  Dice setup_;
  ManualClock clock_;
  SimulatedHub hub_{clock_};
  Instant healthy_since_{};
  TemporaryDirectory directory_;
  Metrics metrics_;
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  HandoverMemory memory_;
  std::unique_ptr<Handover> handover_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<TransferEngine> transfer_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::unique_ptr<FileSystem> files_;
};

}  // namespace hffs::test
