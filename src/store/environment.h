// SPDX-License-Identifier: Apache-2.0
//
// LMDB, with its caveats written into types. The environment is opened once per process (the
// store's lock sees to that) and with MDB_NOTLS, so that read transactions may be pooled across
// threads. All tables are opened before any thread starts. A write transaction aborts unless it is
// committed.
//
// LMDB serves nobody any more once it could not write a meta page (MDB_PANIC): the environment is then
// opened again, at its last good commit, while readers wait.
//
// Threads: read() from any; an IndexTxn lives and dies on one thread, one at a time, and
// reopen_if_failed() is that thread's.
#pragma once

#include <lmdb.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hffs/error.h"
#include "hffs/guarded.h"
#include "hffs/store.h"
#include "usage_counters.h"

namespace hffs {

inline std::string_view to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

class Environment {
 public:
  static Result<std::unique_ptr<Environment>> open(const std::string& directory,
                                                   std::uint64_t map_size);
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment();

  // Runs `body` with a consistent view. Takes no lock that a writer holds.
  void read(const std::function<void(const ReadTxn&)>& body) const;
  // After a commit that failed. Blocks until every reader has ended, and while the disk does not let the
  // index be opened.
  void reopen_if_failed();

  MDB_env* raw() const { return env_; }
  MDB_dbi handle(Table table) const { return tables_[static_cast<std::size_t>(table)]; }

 private:
  struct Pool {
    std::vector<MDB_txn*> idle;
    int made = 0;
    bool reopening = false;
    std::uint64_t opened = 0;  // times
  };

  Environment(std::string directory, std::uint64_t map_size)
      : directory_(std::move(directory)), map_size_(map_size) {}
  Result<void> open_again();
  Result<void> open_tables();
  MDB_txn* take_reader() const;
  void give_back(MDB_txn* txn) const;

  const std::string directory_;
  const std::uint64_t map_size_;
  MDB_env* env_ = nullptr;
  std::array<MDB_dbi, static_cast<std::size_t>(Table::count_)> tables_{};
  mutable Guarded<Pool> pool_;
  mutable std::condition_variable reader_free_, all_free_;
};

// The write transaction. The first failing step is kept; later ones do nothing, and commit()
// returns it. Views that get() and scan() give out are copies that live as long as the transaction,
// since a put may move what LMDB pointed to.
class IndexTxn final : public WriteTxn {
 public:
  explicit IndexTxn(const Environment& environment);
  IndexTxn(const IndexTxn&) = delete;
  IndexTxn& operator=(const IndexTxn&) = delete;
  ~IndexTxn() override;

  std::optional<std::string_view> get(Table table, std::string_view key) const override;
  void scan(Table table, std::string_view prefix, std::string_view from,
            const std::function<bool(std::string_view key, std::string_view value)>& visit)
      const override;
  void put(Table table, std::string_view key, std::string_view value) override;
  void erase(Table table, std::string_view key) override;
  std::uint64_t next_number(std::string_view sequence) override;

  // Durable when it succeeds; nothing happened when it fails.
  Result<void> commit();

  UsageDelta delta;

 private:
  // False, and the error is kept, unless `status` is success.
  bool check(int status, std::string_view action) const;
  std::string_view keep(std::string_view bytes) const;

  const Environment& environment_;
  MDB_txn* txn_ = nullptr;
  std::uint64_t changes_ = 0;
  mutable std::optional<Error> failed_;
  mutable std::deque<std::string> kept_;
};

}  // namespace hffs
