// SPDX-License-Identifier: Apache-2.0
//
// TreeLoader: brings a commit's tree into the index, page by page. One path can be answered before
// the last page (paths-info); listings wait for all of them, through a rate limit that lets them go on
// when it said, and go on where they stopped, even after a failure or a restart: the cursor of the
// next page is in the commit's row.
// Threads: any; nothing blocks. Completions come on a store or network thread.
#pragma once

#include <memory>
#include <string>

#include "hffs/flight.h"
#include "hffs/catalog.h"
#include "hffs/timer.h"
#include "index.h"
#include "hffs/recent.h"

namespace hffs::catalog {

class TreeLoader : public std::enable_shared_from_this<TreeLoader> {
 public:
  TreeLoader(const CatalogOptions& options, Origin& origin, Store& store, const Clock& clock);

  // The position of `name` below `parent`, or nothing if the commit surely has no such path.
  void find(CommitNumber commit, Position parent, const std::string& name,
            Done<std::optional<Position>> done);
  // Until the whole tree is in the index.
  void complete(CommitNumber commit, Done<void> done);
  // A commit that no ref named: it exists if the Hub gives its tree.
  void discover(RepoNumber repo, const CommitId& id, Done<CommitNumber> done);
  // Asks the Hub for the whole tree of a self-attested commit, which is the commit's from then on.
  // The commit may have another number afterwards.
  void confirm(CommitNumber commit, Done<void> done);
  // The Hub had no tree of it a moment ago.
  bool is_gone(CommitNumber commit);
  // Somebody has more rights now than who asked before.
  void believe_again() {
    missing_.forget_all();
    gone_.forget_all();
  }
  // No timer fires any more.
  void stop() { timer_.stop(); }

 private:
  struct Page {
    bool complete = false;
    std::optional<std::uint32_t> calls_left;
  };

  void fetch_page(CommitNumber commit, Done<Page> done);
  void store_page(CommitNumber commit, const std::string& key, TreePage page);
  void put_page(WriteTxn& txn, CommitRow& commit, const TreePage& page);
  void next_page(CommitNumber commit, const std::string& key);
  void page_arrived(CommitNumber commit, const std::string& key, Result<Page> page);
  void ask_path(CommitNumber commit, Position parent, const std::string& name,
                Done<std::optional<Position>> done);
  void confirm_behind(CommitNumber commit);
  void gather(CommitNumber commit, std::shared_ptr<std::vector<TreeEntry>> entries,
              const std::string& cursor);
  void attest_again(CommitNumber commit, TreePage page);
  void later(std::chrono::milliseconds delay, CommitNumber commit, const std::string& key);

  const CatalogOptions options_;
  Origin& origin_;
  Store& store_;
  const Clock& clock_;
  Recent missing_;    // commits and paths that the Hub does not have
  Recent doubtful_;   // paths that were not found, which is no proof
  Recent restarted_;  // listings whose cursor was thrown away
  Recent unconfirmed_;  // self-attested commits that the Hub was asked about
  Recent limited_;    // listings that waited for a rate limit, and have had no page since
  Recent gone_;       // commits whose tree the Hub does not have
  Guarded<std::unordered_map<CommitNumber, int>> asked_;  // single paths, by commit
  Flight<Page> pages_;
  Flight<bool> listings_;
  Flight<std::optional<Position>> paths_;
  Flight<CommitNumber> discoveries_;
  Flight<bool> confirmations_;
  Timer timer_;
};

}  // namespace hffs::catalog
