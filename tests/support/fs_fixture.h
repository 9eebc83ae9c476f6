// SPDX-License-Identifier: Apache-2.0
//
// A file system over a real store, catalog and transfer engine; the Hub is in memory and gives bytes
// when the test lets it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "fake_origin.h"
#include "faulty_disk.h"
#include "handover.h"
#include "hffs/filesystem.h"
#include "wait.h"

namespace hffs::test {

inline const std::string kCommitA(40, 'a'), kCommitB(40, 'b');
// Their names are the hashes of the bytes that pattern() and kSmallText are.
inline const std::string kBig = "33b45cc302cfe5d5bfff9d5e62ab2b8ee86a4d773af4f1afa094b4c6b0052632";
inline const std::string kSmall = "68a4b0699c4c39c11300439fe60b7a2c7e1d777a";
inline const std::string kSmallText = "a small file\n";
inline constexpr std::uint64_t kBigSize = 3 * kBlockSize + 5;

inline std::string pattern() {
  std::string bytes(kBigSize, '\0');
  for (std::uint64_t i = 0; i < kBigSize; ++i)
    bytes[i] = static_cast<char>((i * 7 + i / 4096) & 0xff);
  return bytes;
}

// Names from a FakeOrigin; bytes from `content`, on a thread of its own, while `open` is true.
class ByteOrigin final : public Origin {
 public:
  explicit ByteOrigin(FakeOrigin& names) : names_(names), thread_([this] { run(); }) {}
  ~ByteOrigin() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  std::map<std::string, std::string> content;  // by blob name; change only while nothing is asked
  void set_open(bool open) {
    {
      std::lock_guard lock(mutex_);
      open_ = open;
    }
    wake_.notify_all();
  }
  int ranges() {
    std::lock_guard lock(mutex_);
    return ranges_;
  }

  void fetch_revision(const RepoId& repo, const std::string& revision,
                      Done<RepoInfo> done) override {
    names_.fetch_revision(repo, revision, std::move(done));
  }
  void fetch_tree_page(const RepoId& repo, const CommitId& commit, const std::string& cursor,
                       Done<TreePage> done) override {
    names_.fetch_tree_page(repo, commit, cursor, std::move(done));
  }
  void fetch_paths(const RepoId& repo, const CommitId& commit, std::vector<std::string> paths,
                   Done<std::vector<TreeEntry>> done) override {
    names_.fetch_paths(repo, commit, std::move(paths), std::move(done));
  }
  void fetch_refs(const RepoId& repo, Done<RefList> done) override {
    names_.fetch_refs(repo, std::move(done));
  }
  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    auto fetch = std::make_shared<Fetch>(*this, file.blob.hex(), range, std::move(sink));
    {
      std::lock_guard lock(mutex_);
      ++ranges_;
      waiting_.push_back(fetch);
    }
    wake_.notify_all();
    return fetch;
  }
  std::vector<Health> health() const override { return names_.health(); }

 private:
  struct Fetch final : RangeFetch {
    Fetch(ByteOrigin& of, std::string name, ByteRange all, std::shared_ptr<RangeSink> to)
        : origin(of), blob(std::move(name)), range(all), at(all.offset), sink(std::move(to)) {}
    void resume() override { change(paused, false); }
    void cancel() override { change(cancelled, true); }
    void change(bool& flag, bool value) {
      {
        std::lock_guard lock(origin.mutex_);
        flag = value;
      }
      origin.wake_.notify_all();
    }
    ByteOrigin& origin;
    const std::string blob;
    const ByteRange range;
    std::uint64_t at;
    const std::shared_ptr<RangeSink> sink;
    bool started = false, paused = false, cancelled = false;
  };

  std::shared_ptr<Fetch> next() {
    for (auto fetch = waiting_.begin(); fetch != waiting_.end(); ++fetch) {
      if (!(*fetch)->cancelled && (!open_ || (*fetch)->paused)) continue;
      auto found = *fetch;
      waiting_.erase(fetch);
      return found;
    }
    return nullptr;
  }
  // True: it goes on later.
  bool deliver(Fetch& fetch) {
    if (fetch.cancelled) {
      fetch.sink->on_done(fail(Code::cancelled, "cancelled"));
      return false;
    }
    if (!std::exchange(fetch.started, true)) fetch.sink->on_start(fetch.range);
    const std::string& bytes = content.at(fetch.blob);
    while (fetch.at < fetch.range.end()) {
      const auto piece = std::min<std::uint64_t>(256 << 10, fetch.range.end() - fetch.at);
      fetch.paused = true;  // resume() may come before on_data() has returned
      const Flow flow = fetch.sink->on_data(
          fetch.at, std::as_bytes(std::span(bytes)).subspan(fetch.at, piece));
      if (flow == Flow::pause) return true;
      if (flow == Flow::stop) {
        fetch.sink->on_done(fail(Code::cancelled, "stopped"));
        return false;
      }
      fetch.at += piece;
    }
    fetch.sink->on_done({});
    return false;
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      auto fetch = next();
      if (!fetch) {
        if (stop_) return;
        wake_.wait(lock);
        continue;
      }
      lock.unlock();
      const bool more = deliver(*fetch);
      lock.lock();
      if (more) waiting_.push_back(std::move(fetch));
    }
  }

  FakeOrigin& names_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Fetch>> waiting_;
  bool open_ = true, stop_ = false;
  int ranges_ = 0;
  std::thread thread_;
};

class FsTest : public testing::Test {
 protected:
  FsTest() {
    std::string pattern_ = (std::filesystem::temp_directory_path() / "hffs-fs-XXXXXX").string();
    directory_ = mkdtemp(pattern_.data());
    names_.repos["acme/tiny"] = {
        .refs = {{"main", kCommitA}},
        .trees = {{kCommitA,
                   {file("big.bin", kBig, kBigSize), file("small.txt", kSmall, kSmallText.size()),
                    file("sub/again.bin", kBig, kBigSize)}}}};
    bytes_.content = {{kBig, pattern()}, {kSmall, kSmallText}};
    open();
  }
  ~FsTest() override {
    close();
    std::filesystem::remove_all(directory_);
  }
  static TreeEntry file(const std::string& path, const std::string& hex, std::uint64_t size) {
    return {.kind = TreeEntry::Kind::file, .path = path, .size = size, .blob = *BlobId::parse(hex)};
  }

  void open() {
    auto store = Store::open({.state_dir = directory_}, system_disk(), system_clock(), metrics_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    store_->on_incarnation([this](const BlobInfo&) { ++incarnations_; });
    transfer_ = TransferEngine::create({.read_deadline = std::chrono::seconds(20)}, bytes_, *store_,
                                       system_clock(), metrics_);
    auto catalog = Catalog::open(
        {.ref_ttl = std::chrono::hours(1), .missing_ttl = std::chrono::milliseconds(0)}, bytes_,
        *store_, *access_, system_clock(), metrics_);
    ASSERT_TRUE(catalog);
    catalog_ = std::move(*catalog);
    prefetcher_ = Prefetcher::create(prefetch_, bytes_, *catalog_, *store_, *transfer_,
                                     system_clock(), metrics_);
    auto files = FileSystem::open(options_, *catalog_, *store_, *transfer_, *prefetcher_,
                                  *handover_, disk_, system_clock(), metrics_);
    ASSERT_TRUE(files) << files.error().message;
    files_ = std::move(*files);
  }
  void close() {
    files_.reset();
    prefetcher_.reset();
    catalog_.reset();
    transfer_.reset();
    store_.reset();
    metrics_.add(Metric::overlay_nodes, -metrics_.value(Metric::overlay_nodes));
  }
  void reopen() {
    close();
    open();
  }

  NodeId locks() { return NodeId::of(FixedNode::locks); }
  std::size_t data_files() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& item :
         std::filesystem::directory_iterator(*store_->directory("overlay")))
      ++count;
    return count;
  }
  static Caller user(uid_t uid) { return {uid, uid, 1}; }
  Result<Entry> lookup(uid_t uid, NodeId parent, std::string_view name) {
    return wait_for<Entry>(
        [&](Done<Entry> done) { files_->lookup(user(uid), parent, name, {}, std::move(done)); });
  }
  Result<Entry> walk(uid_t uid, const std::string& path) {
    Result<Entry> entry = Entry{.node = kRootNode};
    std::size_t begin = 0;
    while (begin <= path.size()) {
      const std::size_t slash = std::min(path.find('/', begin), path.size());
      entry = lookup(uid, entry->node, path.substr(begin, slash - begin));
      if (!entry || entry->node.value == 0) return entry;
      begin = slash + 1;
    }
    return entry;
  }
  NodeId at(uid_t uid, const std::string& path) {
    const auto entry = walk(uid, path);
    EXPECT_TRUE(entry) << path << ": " << entry.error().message;
    return entry ? entry->node : NodeId{};
  }
  bool absent(uid_t uid, const std::string& path) {
    const auto entry = walk(uid, path);
    return entry ? entry->node.value == 0 : entry.error().code == Code::not_found;
  }
  std::vector<std::string> names(uid_t uid, NodeId directory, std::size_t most = 1'000) {
    std::vector<std::string> found;
    std::uint64_t cookie = 0;
    while (true) {
      auto items = wait_for<std::vector<DirItem>>([&](auto done) {
        files_->list(user(uid), directory, cookie, most, {}, std::move(done));
      });
      EXPECT_TRUE(items) << items.error().message;
      if (!items || items->empty()) break;
      for (const auto& item : *items) found.push_back(item.name);
      cookie = items->back().cookie;
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  Result<std::string> read(uid_t uid, NodeId node, ByteRange range = {0, 64 << 20},
                           std::stop_token stop = {}) {
    auto bytes = wait_for<std::vector<std::byte>>([&](auto done) {
      files_->read(user(uid), node, range, stop, std::move(done));
    });
    if (!bytes) return fail(bytes);
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }
  Result<std::size_t> write(uid_t uid, NodeId node, std::string_view text,
                            std::uint64_t offset = 0) {
    return files_->write(user(uid), node, offset, std::as_bytes(std::span(text)));
  }
  // Makes a file and writes it, as open(O_CREAT), write() and close() do.
  NodeId put(uid_t uid, NodeId parent, std::string_view name, std::string_view text) {
    const auto made = files_->make_file(user(uid), parent, name, 0644);
    EXPECT_TRUE(made) << name << ": " << made.error().message;
    if (!made) return {};
    EXPECT_TRUE(files_->open_file(user(uid), made->node, O_WRONLY));
    if (!text.empty()) {
      const auto written = write(uid, made->node, text);
      EXPECT_TRUE(written) << written.error().message;
    }
    files_->release(made->node, 0, O_WRONLY);
    return made->node;
  }
  NodeId make_directory(uid_t uid, NodeId parent, std::string_view name) {
    const auto made = files_->make_directory(user(uid), parent, name, 0755);
    EXPECT_TRUE(made) << name << ": " << made.error().message;
    return made ? made->node : NodeId{};
  }
  Result<void> rename(uid_t uid, NodeId from, std::string_view name, NodeId to,
                      std::string_view new_name, unsigned flags = 0) {
    return wait_for<void>([&](Done<void> done) {
      files_->rename(user(uid), from, name, to, new_name, flags, std::move(done));
    });
  }
  template <class T>
  static Code code(const Result<T>& result) {
    return result ? Code::bug : result.error().code;
  }
  static bool eventually(const std::function<bool()>& check) {
    for (int i = 0; i < 2'000; ++i) {
      if (check()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  static constexpr uid_t kAlice = 1'001, kBob = 1'002;
  const std::string repo_ = "models--acme--tiny";
  Metrics metrics_;
  std::atomic<int> incarnations_ = 0;
  FakeOrigin names_;
  ByteOrigin bytes_{names_};
  std::string directory_;
  FileSystemOptions options_;
  PrefetchOptions prefetch_{.policy = PrefetchPolicy::off};
  FaultyDisk::Before fault_ = [](Op, const std::string&) { return Result<void>{}; };
  FaultyDisk disk_{[this](Op op, const std::string& path) { return fault_(op, path); }};
  std::unique_ptr<AccessControl> access_ = allow_everybody();
  HandoverMemory memory_;
  std::unique_ptr<Handover> handover_ = memory_.next();
  std::unique_ptr<Store> store_;
  std::unique_ptr<TransferEngine> transfer_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::unique_ptr<FileSystem> files_;
};

}  // namespace hffs::test
