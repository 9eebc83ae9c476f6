// SPDX-License-Identifier: Apache-2.0
#include "environment.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "hffs/record.h"

namespace hffs {
namespace {

// Slots in LMDB's reader table: 64 bytes each. More read transactions at once than this wait.
constexpr int kMostReaders = 512;
constexpr MDB_dbi kMostTables = static_cast<MDB_dbi>(Table::count_) + 8;  // slack for later tables
constexpr std::uint8_t kSequenceVersion = 1;
// How long a disk may keep an index from being opened again, and how often it is asked.
constexpr std::chrono::seconds kLongestReopening{30};
constexpr std::chrono::milliseconds kReopenAgain{200};

Error lmdb_error(int status, std::string_view action) {
  if (status > 0) return system_error(status, action);
  Code code = Code::io;
  std::string_view remedy;
  switch (status) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
      code = Code::no_space;
      break;
    case MDB_BAD_VALSIZE:
      code = Code::invalid;
      break;  // a key that is empty or over 511 bytes
    case MDB_BAD_TXN:
      code = Code::bug;
      break;
    case MDB_VERSION_MISMATCH:
      code = Code::unsupported;
      break;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
      code = Code::corrupt;
      remedy = "; the next start puts the index aside and begins a new one: verified blobs are kept";
      break;
    default:
      break;
  }
  return {code, fmt::format("{}: {}{}", action, mdb_strerror(status), remedy), {}};
}

MDB_val to_val(std::string_view bytes) {
  // LMDB takes a mutable pointer and does not write through it.
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

Cursor open_cursor(MDB_txn* txn, MDB_dbi table) {
  MDB_cursor* cursor = nullptr;
  if (mdb_cursor_open(txn, table, &cursor) != 0) return nullptr;
  return Cursor(cursor);
}

// Positions at the first row whose key is not less than `start`.
int seek(MDB_cursor* cursor, std::string_view start, MDB_val& key, MDB_val& value) {
  key = to_val(start);
  return mdb_cursor_get(cursor, &key, &value, start.empty() ? MDB_FIRST : MDB_SET_RANGE);
}

// Without this, a table whose read failed would look empty, and what is authoritative in it lost. A
// restarted process opens the index at its last good commit.
[[noreturn]] void give_up(int status) {
  log(Level::error, "store", "the index cannot be read: {}", mdb_strerror(status));
  std::abort();
}

class MappedReadTxn final : public ReadTxn {
 public:
  MappedReadTxn(const Environment& environment, MDB_txn* txn)
      : environment_(environment), txn_(txn) {}

  std::optional<std::string_view> get(Table table, std::string_view key) const override {
    MDB_val name = to_val(key), value{};
    const int status = mdb_get(txn_, environment_.handle(table), &name, &value);
    if (status == MDB_NOTFOUND || status == MDB_BAD_VALSIZE) return std::nullopt;
    if (status != 0) give_up(status);
    return to_view(value);
  }

  void scan(Table table, std::string_view prefix, std::string_view from,
            const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    const Cursor cursor = open_cursor(txn_, environment_.handle(table));
    if (!cursor) give_up(ENOMEM);
    MDB_val key{}, value{};
    int status = seek(cursor.get(), std::max(prefix, from), key, value);
    while (status == 0 && to_view(key).starts_with(prefix)) {
      if (!visit(to_view(key), to_view(value))) return;
      status = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT);
    }
    if (status != 0 && status != MDB_NOTFOUND) give_up(status);
  }

 private:
  const Environment& environment_;
  MDB_txn* txn_;
};

}  // namespace

Result<std::unique_ptr<Environment>> Environment::open(const std::string& directory,
                                                       std::uint64_t map_size) {
  std::unique_ptr<Environment> made(new Environment(directory, map_size));
  if (auto opened = made->open_again(); !opened) return fail(opened);
  return made;
}

Result<void> Environment::open_again() {
  if (env_ != nullptr) mdb_env_close(std::exchange(env_, nullptr));
  if (const int status = mdb_env_create(&env_); status != 0)
    return fail(lmdb_error(status, "making the index"));
  mdb_env_set_mapsize(env_, map_size_);
  mdb_env_set_maxreaders(env_, kMostReaders);
  mdb_env_set_maxdbs(env_, kMostTables);
  // MDB_NORDAHEAD: lookups are random, and the index may be larger than what memory is free.
  const int status = mdb_env_open(env_, directory_.c_str(), MDB_NOTLS | MDB_NORDAHEAD, 0600);
  if (status != 0) return fail(lmdb_error(status, fmt::format("opening the index {}", directory_)));
  return open_tables();
}

void Environment::reopen_if_failed() {
  MDB_txn* txn = nullptr;
  const int status = mdb_txn_begin(env_, nullptr, 0, &txn);
  if (status == 0) return mdb_txn_abort(txn);
  if (status != MDB_PANIC) return;
  auto pool = pool_.lock();
  pool->reopening = true;
  while (pool->made != static_cast<int>(pool->idle.size())) pool.wait(all_free_);
  for (MDB_txn* idle : std::exchange(pool->idle, {})) mdb_txn_abort(idle);
  pool->made = 0;
  const auto give_up_at = std::chrono::steady_clock::now() + kLongestReopening;
  for (auto opened = open_again(); !opened; opened = open_again()) {
    if (std::chrono::steady_clock::now() > give_up_at) {
      log(Level::error, "store", "the index cannot be opened again: {}", opened.error().message);
      std::abort();
    }
    std::this_thread::sleep_for(kReopenAgain);
  }
  pool->reopening = false;
  ++pool->opened;
  log(Level::warn, "store", "the index was opened again after a commit that the disk did not take");
  reader_free_.notify_all();
}

Result<void> Environment::open_tables() {
  MDB_txn* txn = nullptr;
  if (const int status = mdb_txn_begin(env_, nullptr, 0, &txn); status != 0)
    return fail(lmdb_error(status, "opening the index's tables"));
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const std::string name(info(static_cast<Table>(i)).name);
    if (const int status = mdb_dbi_open(txn, name.c_str(), MDB_CREATE, &tables_[i]); status != 0) {
      mdb_txn_abort(txn);
      return fail(lmdb_error(status, fmt::format("opening table {}", name)));
    }
  }
  if (const int status = mdb_txn_commit(txn); status != 0)
    return fail(lmdb_error(status, "making the index's tables"));
  return {};
}

Environment::~Environment() {
  for (auto pool = pool_.lock(); MDB_txn * txn : pool->idle) mdb_txn_abort(txn);
  if (env_ != nullptr) mdb_env_close(env_);
}

MDB_txn* Environment::take_reader() const {
  while (true) {
    MDB_txn* txn = nullptr;
    auto pool = pool_.lock();
    while (pool->reopening || (pool->idle.empty() && pool->made >= kMostReaders))
      pool.wait(reader_free_);
    if (!pool->idle.empty()) {
      txn = pool->idle.back();
      pool->idle.pop_back();
    } else {
      ++pool->made;
    }
    const std::uint64_t opened = pool->opened;
    pool.unlock();
    const int status =
        txn != nullptr ? mdb_txn_renew(txn) : mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
    if (status == 0) return txn;
    if (status != MDB_PANIC) give_up(status);
    // A commit has just failed, and its thread opens the index again.
    if (txn != nullptr) mdb_txn_abort(txn);
    auto waiting = pool_.lock();
    --waiting->made;
    all_free_.notify_one();
    while (waiting->opened == opened) waiting.wait(reader_free_);
  }
}

void Environment::give_back(MDB_txn* txn) const {
  mdb_txn_reset(txn);
  auto pool = pool_.lock();
  pool->idle.push_back(txn);
  if (pool->reopening) all_free_.notify_one();
  reader_free_.notify_one();
}

void Environment::read(const std::function<void(const ReadTxn&)>& body) const {
  const auto give = [this](MDB_txn* txn) { give_back(txn); };
  const std::unique_ptr<MDB_txn, decltype(give)> txn(take_reader(), give);
  body(MappedReadTxn(*this, txn.get()));
}

IndexTxn::IndexTxn(const Environment& environment) : environment_(environment) {
  check(mdb_txn_begin(environment.raw(), nullptr, 0, &txn_), "beginning a transaction");
}

IndexTxn::~IndexTxn() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

bool IndexTxn::check(int status, std::string_view action) const {
  if (status == 0) return !failed_;
  if (!failed_) failed_ = lmdb_error(status, action);
  return false;
}

std::string_view IndexTxn::keep(std::string_view bytes) const {
  return kept_.emplace_back(bytes);
}

std::optional<std::string_view> IndexTxn::get(Table table, std::string_view key) const {
  if (failed_) return std::nullopt;
  MDB_val name = to_val(key), value{};
  const int status = mdb_get(txn_, environment_.handle(table), &name, &value);
  if (status == MDB_NOTFOUND || status == MDB_BAD_VALSIZE) return std::nullopt;
  if (!check(status, "reading the index")) return std::nullopt;
  return keep(to_view(value));
}

void IndexTxn::scan(Table table, std::string_view prefix, std::string_view from,
                    const std::function<bool(std::string_view, std::string_view)>& visit) const {
  if (failed_) return;
  Cursor cursor = open_cursor(txn_, environment_.handle(table));
  if (!cursor) {
    check(ENOMEM, "scanning the index");
    return;
  }
  MDB_val key{}, value{};
  int status = seek(cursor.get(), std::max(prefix, from), key, value);
  while (status == 0 && to_view(key).starts_with(prefix)) {
    const std::string_view at = keep(to_view(key));
    const std::uint64_t before = changes_;
    if (!visit(at, keep(to_view(value)))) return;
    if (failed_) return;
    if (changes_ == before) {
      status = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT);
      continue;
    }
    // `visit` changed the index: find the place again rather than trust the cursor.
    status = seek(cursor.get(), at, key, value);
    if (status == 0 && to_view(key) == at)
      status = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT);
  }
  if (status != MDB_NOTFOUND) check(status, "scanning the index");
}

void IndexTxn::put(Table table, std::string_view key, std::string_view value) {
  if (failed_) return;
  ++changes_;
  MDB_val name = to_val(key), data = to_val(value);
  check(mdb_put(txn_, environment_.handle(table), &name, &data, 0),
        fmt::format("writing a row of table {}", info(table).name));
}

void IndexTxn::erase(Table table, std::string_view key) {
  if (failed_) return;
  ++changes_;
  MDB_val name = to_val(key);
  const int status = mdb_del(txn_, environment_.handle(table), &name, nullptr);
  if (status != MDB_NOTFOUND) check(status, "erasing a row");
}

std::uint64_t IndexTxn::next_number(std::string_view sequence) {
  const std::string key = fmt::format("sequence/{}", sequence);
  std::uint64_t number = 1;
  if (const auto row = get(Table::meta, key)) {
    Reader reader(*row);
    const bool known = reader.u8() == kSequenceVersion;
    number = reader.u64() + 1;
    if (!known || !reader.complete()) {
      // Beginning again at 1 would give two things one number.
      if (!failed_)
        failed_ = Error{Code::corrupt, fmt::format("the sequence '{}' is damaged", sequence), {}};
      return 0;
    }
  }
  put(Table::meta, key, RecordWriter(kSequenceVersion).u64(number));
  return number;
}

Result<void> IndexTxn::commit() {
  MDB_txn* txn = std::exchange(txn_, nullptr);
  if (failed_) {
    if (txn != nullptr) mdb_txn_abort(txn);
    return fail(*failed_);
  }
  if (const int status = mdb_txn_commit(txn); status != 0)
    return fail(lmdb_error(status, "committing to the index"));
  return {};
}

}  // namespace hffs
