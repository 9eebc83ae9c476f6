// SPDX-License-Identifier: Apache-2.0
#include "index_check.h"

#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>

#include "environment.h"
#include "hffs/posix.h"
#include "hffs/record.h"

namespace hffs {
namespace {

// Not 1: what ends a program that has a fault of its own is no verdict.
constexpr int kGood = 0, kDamaged = 101, kMute = 102;
// A cursor that garbage leads in circles ends.
constexpr unsigned kMostSeconds = 300;
constexpr MDB_dbi kFreePages = 0;  // lmdb.h names it nowhere; mdb_stat reads it so
constexpr MDB_dbi kMostNames = 64;
// What a page in the file is, in its header (MDB_page in mdb.c of LMDB 0.9): flags behind a number of 8 bytes and 2 of
// padding. A page that says besides that it was copied already is written to where it lies, and the map may not be.
constexpr std::size_t kFlagsAt = 10;
constexpr std::uint16_t kLeaf = 0x02, kOverflow = 0x04;
// Those that need no other to be understood; first, so that they are saved before the damage is met.
constexpr std::array kSavedTables{Table::meta, Table::pins};
constexpr std::array kStoreTables{Table::blobs, Table::blob_names, Table::blob_uses,
                                  Table::evictions};

// What the child says: rows, and in the end a text. It dies where it stands.
class Answer {
 public:
  explicit Answer(int fd) : fd_(fd) {}
  void row(Table table, std::string_view key, std::string_view value) {
    put(RecordWriter(static_cast<std::uint8_t>(table)).text(key).text(value));
  }
  [[noreturn]] void end(int code, std::string_view text) {
    put(RecordWriter(static_cast<std::uint8_t>(Table::count_)).text(text).text({}));
    ::_exit(code);
  }

 private:
  void put(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count <= 0) ::_exit(kMute);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  int fd_;
};

class Walk {
 public:
  Walk(MDB_txn* txn, Answer& answer) : txn_(txn), answer_(answer) {}

  // LMDB writes over what stands in this list.
  void free_pages(std::size_t last_page) {
    const std::string_view name = "the list of free pages";
    rows(kFreePages, name, [&](std::string_view, std::string_view value) {
      std::vector<std::size_t> list(value.size() / sizeof(std::size_t));
      if (!list.empty()) std::memcpy(list.data(), value.data(), list.size() * sizeof(std::size_t));
      // Its length, and then the pages, the highest first; 0 and 1 are meta pages.
      bool good = !list.empty() && list[0] == list.size() - 1;
      for (std::size_t i = 1; good && i < list.size(); ++i)
        good = list[i] > 1 && list[i] <= last_page && (i == 1 || list[i] < list[i - 1]);
      if (!good) damaged(name, "it names pages that there cannot be");
    });
  }
  void names() {
    const std::string_view name = "the list of tables";
    MDB_dbi handle = 0;
    check(mdb_dbi_open(txn_, nullptr, 0, &handle), name);
    rows(handle, name, {});
  }
  void table(Table table, bool save) {
    const std::string name(info(table).name);
    MDB_dbi handle = 0;
    const int status = mdb_dbi_open(txn_, name.c_str(), 0, &handle);
    if (status == MDB_NOTFOUND) return;  // of an older program
    check(status, name);
    std::vector<SavedRow> found;
    rows(handle, name, [&](std::string_view key, std::string_view value) {
      if (save) found.push_back({table, std::string(key), std::string(value)});
    });
    for (const SavedRow& row : found) answer_.row(row.table, row.key, row.value);
    if (save) answer_.row(table, {}, {});  // all of it
  }

 private:
  void check(int status, std::string_view name) {
    if (status != 0) damaged(name, mdb_strerror(status));
  }
  [[noreturn]] void damaged(std::string_view name, std::string_view how) {
    answer_.end(kDamaged, fmt::format("{}: {}", name, how));
  }

  void page_is(std::uint16_t wanted, const char* page, std::string_view name) {
    std::uint16_t flags = 0;
    std::memcpy(&flags, page + kFlagsAt, sizeof(flags));
    if (flags != wanted) damaged(name, "a page of it is not what it should be");
  }

  void rows(MDB_dbi handle, std::string_view name,
            const std::function<void(std::string_view, std::string_view)>& visit) {
    MDB_cursor* cursor = nullptr;
    MDB_stat stat{};
    check(mdb_cursor_open(txn_, handle, &cursor), name);
    check(mdb_stat(txn_, handle, &stat), name);
    MDB_val key{}, value{};
    std::string before;
    std::size_t count = 0;
    unsigned touched = 0;
    int status = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; status == 0; status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
      const std::string_view now = to_view(key);
      const auto page_of = [&](const MDB_val& part) {
        const auto* at = static_cast<const char*>(part.mv_data);
        return at - reinterpret_cast<std::uintptr_t>(at) % stat.ms_psize;
      };
      page_is(kLeaf, page_of(key), name);
      if (value.mv_size != 0 && page_of(value) != page_of(key)) page_is(kOverflow, page_of(value), name);
      // Keys of the free list are integers in the machine's order.
      if (handle != kFreePages && count > 0 && now <= before) damaged(name, "its keys are out of order");
      before = now;
      for (const char byte : to_view(value)) touched += static_cast<unsigned char>(byte);
      if (visit) visit(now, to_view(value));
      if (++count > stat.ms_entries) break;
    }
    used_ = touched;
    if (status != MDB_NOTFOUND && status != 0) check(status, name);
    if (count != stat.ms_entries) damaged(name, "it has another number of rows than it says");
    mdb_cursor_close(cursor);
  }

  MDB_txn* txn_;
  Answer& answer_;
  volatile unsigned used_ = 0;  // else nobody would read the values
};

// All else is for the opening to tell. A size that garbage gives is more than can be mapped.
bool is_damage(int status) {
  rlimit memory{};
  ::getrlimit(RLIMIT_AS, &memory);
  const bool too_large = status == ENOMEM || status == EINVAL;
  return status == MDB_INVALID || status == MDB_CORRUPTED || status == MDB_PAGE_NOTFOUND ||
         (too_large && memory.rlim_cur == RLIM_INFINITY);
}

[[noreturn]] void read_all(const std::string& directory, bool all, int fd) {
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM}) ::signal(number, SIG_DFL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::alarm(kMostSeconds);
  Answer answer(fd);
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  if (mdb_env_create(&env) != 0) ::_exit(kMute);
  mdb_env_set_maxdbs(env, kMostNames);
  mdb_env_set_userctx(env, &answer);
  mdb_env_set_assert(env, [](MDB_env* its_env, const char* what) {
    static_cast<Answer*>(mdb_env_get_userctx(its_env))->end(kDamaged, what);
  });
  // The store's lock is ours: nobody writes.
  int status = mdb_env_open(env, directory.c_str(), MDB_RDONLY | MDB_NOLOCK, 0600);
  if (status == 0) status = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (status != 0) answer.end(is_damage(status) ? kDamaged : kGood, mdb_strerror(status));
  MDB_envinfo about{};
  mdb_env_info(env, &about);
  Walk walk(txn, answer);
  walk.names();
  for (const Table table : kSavedTables) walk.table(table, true);
  walk.free_pages(about.me_last_pgno);
  for (const Table table : kStoreTables) walk.table(table, false);
  for (int i = 0; all && i < static_cast<int>(Table::count_); ++i)
    walk.table(static_cast<Table>(i), false);
  answer.end(kGood, {});
}

std::string read_answer(int fd) {
  std::string text;
  std::array<char, 65'536> part;
  while (true) {
    const ssize_t count = ::read(fd, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace

Result<IndexCheck> check_index(const std::string& directory, bool all) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(system_error(errno, "checking the index"));
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(system_error(errno, "checking the index"));
  if (child == 0) read_all(directory, all, to.get());
  to.reset();
  const std::string answer = read_answer(from.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return fail(system_error(errno, "checking the index"));

  IndexCheck found;
  std::string text;
  for (Reader reader(answer); !reader.complete() && reader.ok();) {
    const auto table = static_cast<Table>(reader.u8());
    const std::string_view key = reader.text(), value = reader.text();
    if (!reader.ok()) break;
    if (table == Table::count_)
      text = key;
    else if (key.empty())
      found.pins_saved = found.pins_saved || table == Table::pins;
    else
      found.saved.push_back({table, std::string(key), std::string(value)});
  }
  if (WIFSIGNALED(status))
    found.damage = fmt::format("reading it ends with {}", ::strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) == kDamaged)
    found.damage = text;
  else if (WEXITSTATUS(status) != kGood)
    return fail(Code::io, "the check of the index could not be made");
  return found;
}

}  // namespace hffs
