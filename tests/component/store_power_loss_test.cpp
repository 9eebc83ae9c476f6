// SPDX-License-Identifier: Apache-2.0
//
// Invariant 6: the index never claims a block whose bytes are not durable. A disk records what a
// power loss would leave at each of its calls; what the index claims at that moment must be there,
// and the store that is found then must open and read right.
#include <fcntl.h>

#include <atomic>
#include <map>
#include <set>
#include <tuple>

#include "environment.h"
#include "hffs/record.h"
#include "recording_disk.h"
#include "state_dir.h"
#include "store_fixture.h"

namespace hffs::test {
namespace {

namespace fs = std::filesystem;

// One thread checks and replays: what threads race for happens before. Without a sanitizer each moment is looked at.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kCheckEvery = 4, kReplayEvery = 8;
#else
constexpr std::size_t kCheckEvery = 1, kReplayEvery = 1;
#endif

using Rows = std::vector<std::tuple<Table, std::string, std::string>>;

struct Moment {
  Rows rows;
  RecordingDisk::Image least, most;
};

class PowerLossTest : public StoreTest {
 protected:
  PowerLossTest() {
    options_.sync_interval = std::chrono::milliseconds(2);
    disk_ = &recording_;
  }

  void record() {
    if (++calls_ % kCheckEvery == 0) record_now();
  }
  void record_now() {
    if (!store_) return;
    Moment moment;
    store_->read([&](const ReadTxn& txn) {
      for (const Table table : {Table::meta, Table::blobs, Table::blob_names, Table::evictions})
        txn.scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
          moment.rows.emplace_back(table, key, value);
          return true;
        });
    });
    moment.least = recording_.survives(RecordingDisk::Luck::least);
    check_claims(moment);
    ++checked_;
    if (replay_each_) {
      // One way of losing power after the other, here and now: so many images would not fit in memory.
      if (checked_ % kReplayEvery != 0 || checked_ % 3 != 0) return;
      const auto luck = static_cast<RecordingDisk::Luck>(checked_ / 3 % 3);
      replay(moment, recording_.survives(luck));
      ++replayed_;
      return;
    }
    if (!moments_.empty() && moments_.back().rows == moment.rows && checked_ % 7 != 0) return;
    moment.most = recording_.survives(RecordingDisk::Luck::most);
    if (moments_.size() < 150) moments_.push_back(std::move(moment));
  }

  // Straight from the model.
  void check_claims(const Moment& moment) {
    for (const auto& [table, key, value] : moment.rows) {
      if (table != Table::blobs) continue;
      const auto row = decode_blob(value);
      ASSERT_TRUE(row);
      Reader reader(key);
      const std::string path =
          row->verified ? root() + "/blobs/" + row->id.hex().substr(0, 2) + "/" + row->id.hex()
                        : root() + fmt::format("/filling/{}", reader.key_u64());
      if (row->bytes_here() == 0) continue;
      const auto found = moment.least.files.find(path);
      // A blob that is moving has left filling/ before its row says so, and is then in blobs/.
      const auto moved = moment.least.files.find(root() + "/blobs/" + row->id.hex().substr(0, 2) +
                                                 "/" + row->id.hex());
      const auto& file = found != moment.least.files.end() ? found : moved;
      if (quarantined_.contains(row->id.hex())) continue;  // its bytes may be lost, and are wrong
      ASSERT_NE(file, moment.least.files.end()) << path << " is claimed and has no durable name";
      const Bytes& right = contents_.at(row->id.hex());
      for (BlockIndex block = 0; block < block_count(row->size); ++block) {
        if (!row->verified && !row->claimed.test(block)) continue;
        const ByteRange range = bytes_of(block, row->size);
        ASSERT_GE(file->second.size(), range.end()) << path << " block " << block;
        ASSERT_TRUE(is_part(std::span(file->second).subspan(range.offset, range.size), right,
                            range.offset))
            << path << " block " << block << " is claimed and not durable";
        ++claims_;
      }
    }
  }

  void replay_all() {
    for (std::size_t i = 0; i < moments_.size(); i += kReplayEvery) {
      ASSERT_NO_FATAL_FAILURE(replay(moments_[i], moments_[i].least));
      ASSERT_NO_FATAL_FAILURE(replay(moments_[i], moments_[i].most));
    }
    RecordProperty("moments", static_cast<int>(moments_.size()));
  }
  // Lays the moment out as a store, opens it and reads it.
  void replay(const Moment& moment, const RecordingDisk::Image& image) {
    TemporaryDirectory elsewhere;
    StoreOptions options = options_;
    options.state_dir = elsewhere.path();
    options.sync_interval = std::chrono::milliseconds(50);
    Metrics metrics;
    const std::string index = elsewhere.path() + "/hffs-v1/index";
    fs::create_directories(index);
    {
      auto environment = Environment::open(index, options.map_size);
      ASSERT_TRUE(environment);
      IndexTxn txn(**environment);
      for (const auto& [table, key, value] : moment.rows) txn.put(table, key, value);
      ASSERT_TRUE(txn.commit());
    }
    const std::string format = format_text();
    write_file(elsewhere.path() + "/hffs-v1/FORMAT", std::as_bytes(std::span(format)));
    for (const auto& [path, bytes] : image.files) {
      if (!path.starts_with(root() + "/")) continue;
      const std::string to = elsewhere.path() + "/hffs-v1" + path.substr(root().size());
      if (to.find("/FORMAT") != to.npos || to.find("/index/") != to.npos) continue;
      fs::create_directories(fs::path(to).parent_path());
      write_file(to, bytes);
    }
    auto store = Store::open(options, system_disk(), system_clock(), metrics);
    ASSERT_TRUE(store) << store.error().message;
    for (const auto& [table, key, value] : moment.rows) {
      if (table != Table::blobs) continue;
      Reader reader(key);
      const std::uint64_t number = reader.key_u64();
      const auto row = decode_blob(value);
      const auto opened = (*store)->open_blob(number);
      ASSERT_TRUE(opened) << opened.error().message;
      const Bytes& right = contents_.at(row->id.hex());
      for (BlockIndex block = 0; block < block_count(row->size); ++block) {
        const ByteRange range = bytes_of(block, row->size);
        if (quarantined_.contains(row->id.hex()) && !(*opened)->identity().verified) continue;
        if (row->verified || row->claimed.test(block)) {
          ASSERT_TRUE((*opened)->readable(range)) << number << " block " << block;
        }
        if (!(*opened)->readable(range)) continue;
        Bytes bytes(range.size);
        const auto count = (*opened)->read(range.offset, bytes);
        ASSERT_TRUE(count) << count.error().message;
        ASSERT_TRUE(is_part(bytes, right, range.offset)) << number << " block " << block;
      }
    }
    check_files(**store);
  }

  // What lies on the disk is counted: an eviction that was cut short has been brought to its end.
  void check_files(Store& store) {
    ASSERT_TRUE(store.flush());  // what opening found is counted when the index has it
    const fs::path blobs = store.blob_directory();
    std::uint64_t bytes = 0;
    for (const auto& each : fs::recursive_directory_iterator(blobs))
      if (each.is_regular_file()) bytes += each.file_size();
    ASSERT_LE(bytes, store.bounds().state().used) << "files that no row knows of";
  }

  std::uint64_t add_known(const Bytes& bytes) {
    {
      const std::lock_guard lock(contents_mutex_);
      contents_.emplace(id_of(bytes).hex(), bytes);
    }
    return add(bytes);
  }

  RecordingDisk recording_;
  std::mutex contents_mutex_;
  std::map<std::string, Bytes> contents_;
  std::set<std::string> quarantined_;
  std::vector<Moment> moments_;
  std::atomic<std::size_t> calls_ = 0, checked_ = 0, claims_ = 0;
  std::size_t replayed_ = 0;
  bool replay_each_ = false;
};

TEST_F(PowerLossTest, WhatIsClaimedSurvives) {
  open();
  EXPECT_TRUE(recording_.synced_directory(root() + "/index"));
  EXPECT_TRUE(recording_.synced_directory(root()));
  EXPECT_TRUE(recording_.synced_directory(directory_.path()));
  std::vector<Bytes> contents;
  for (std::uint64_t i = 0; i < 5; ++i)
    contents.push_back(content(50 + i, i * kBlockSize + 100 + i));
  std::vector<std::uint64_t> numbers;
  for (const Bytes& bytes : contents) numbers.push_back(add_known(bytes));
  const Bytes imported = content(70, kBlockSize + 3), wronged = content(71, 2 * kBlockSize);
  const std::uint64_t import_number = add_known(imported), wronged_number = add_known(wronged);
  quarantined_.insert(id_of(wronged).hex());
  recording_.at_each_call = [this] { record(); };

  std::vector<std::pair<std::size_t, BlockIndex>> order;
  for (std::size_t i = 0; i < contents.size(); ++i)
    for (BlockIndex block = 0; block < block_count(contents[i].size()); ++block)
      order.emplace_back(i, block);
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  const auto wrong = blob(wronged_number);
  wrong->write(0, content(99, 2 * kBlockSize), [](auto) {});
  std::size_t step = 0;
  for (const auto& [i, block] : order) {
    ASSERT_TRUE(write_blocks(*blob(numbers[i]), {block, 1}, contents[i]));
    if (++step % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(4));
    if (step == 5) {
      const auto opened = recording_.open(directory_.path() + "/source", O_WRONLY | O_CREAT, 0600);
      ASSERT_TRUE(opened);
      ASSERT_TRUE(recording_.pwrite_all(opened->get(), imported, 0));
      store_->import_file(import_number, directory_.path() + "/source",
                          [](Result<void> r) { EXPECT_TRUE(r); });
    }
  }
  ASSERT_TRUE(heard_->wait(wronged_number, 2));
  ASSERT_TRUE(fill(*blob(wronged_number), wronged));
  for (const std::uint64_t number : numbers) ASSERT_TRUE(heard_->wait(number, 2));
  ASSERT_TRUE(heard_->wait(import_number, 2));
  ASSERT_TRUE(heard_->wait(wronged_number, 3));
  ASSERT_TRUE(store_->flush());
  recording_.stop_telling();
  record_now();  // the end, too
  EXPECT_GT(checked_, 60 / kCheckEvery);
  EXPECT_GT(claims_, 200 / kCheckEvery);
  close();
  if (HasFailure()) return;
  replay_all();
}

TEST_F(PowerLossTest, WhatIsEvictedGoesForGoodAndTakesNothingWithIt) {
  options_.limits.max_size = 7 * kBlockSize;
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < 8; ++i) {
    contents.push_back(content(150 + i, (1 + i % 3) * kBlockSize + i));
    numbers.push_back(add_known(contents.back()));
  }
  recording_.at_each_call = [this] { record(); };
  for (int round = 0; round < 3; ++round)
    for (std::size_t i = 0; i < contents.size(); ++i) {
      const auto now = store_->blob(numbers[i]);
      if (now->verified) continue;
      const auto filling = blob(numbers[i]);
      if (i == 5 && round < 2) {  // stays unfinished, so that a filling blob goes, too
        ASSERT_TRUE(write_blocks(*filling, {0, 1}, contents[i]));
        ASSERT_TRUE(store_->flush());
        continue;
      }
      ASSERT_TRUE(fill(*filling, contents[i]));
      ASSERT_TRUE(heard_->wait(numbers[i], filling->identity().incarnation + 1));
    }
  ASSERT_TRUE(store_->flush());
  recording_.stop_telling();
  record_now();
  EXPECT_GT(metrics_.value(Metric::blobs_evicted), 10);
  EXPECT_GT(claims_, 100 / kCheckEvery);
  close();
  if (HasFailure()) return;
  replay_all();
}

// Filling, wrong bytes, imports, evictions by the limit and by order, all at once: at each call what is claimed
// must survive, and before every third one power is lost.
TEST_F(PowerLossTest, AtEveryCallOfEverythingAtOnce) {
  options_.limits.max_size = 9 * kBlockSize;
  open();
  store_->bounds().protect([](const ReadTxn&, const Bounds::Visit&) {});
  std::vector<Bytes> contents;
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < 9; ++i) {
    contents.push_back(content(250 + i, i % 4 * kBlockSize + 50 + i));
    numbers.push_back(add_known(contents.back()));
  }
  const Bytes wronged = content(270, kBlockSize + 9);
  const std::uint64_t wronged_number = add_known(wronged);
  quarantined_.insert(id_of(wronged).hex());
  recording_.at_each_call = [this] { record(); };
  replay_each_ = true;
  std::mt19937 random(11);
  while (calls_ < 520 && !HasFailure()) {
    const std::size_t i = random() % contents.size();
    const auto opened = store_->open_blob(numbers[i]);
    ASSERT_TRUE(opened);
    const auto missing = (*opened)->missing({0, contents[i].size()});
    switch (random() % 6) {
      case 0:
        store_->bounds().evict({.blobs = {numbers[random() % numbers.size()]}}, [](const auto&) {});
        break;
      case 1: {
        const std::string source = directory_.path() + fmt::format("/source-{}", i);
        const auto file = recording_.open(source, O_WRONLY | O_CREAT, 0600);
        ASSERT_TRUE(file);
        ASSERT_TRUE(recording_.pwrite_all(file->get(), contents[i], 0));
        (void)wait_for<void>([&](Done<void> done) {
          store_->import_file(numbers[i], source, std::move(done));
        });
        break;
      }
      case 2:
        if (const auto wrong = blob(wronged_number); !wrong->identity().verified)
          (void)fill(*wrong, content(random(), wronged.size()));
        break;
      case 3:
        if (!missing.empty()) (void)write_blocks(**opened, {missing[0].first, 1}, contents[i]);
        break;
      default:
        (void)fill(**opened, contents[i]);
    }
  }
  ASSERT_TRUE(store_->flush());
  recording_.stop_telling();
  EXPECT_GE(checked_, 500 / kCheckEvery);
  EXPECT_GT(claims_, 500 / kCheckEvery);
  EXPECT_GT(metrics_.value(Metric::blobs_evicted), 5);
  EXPECT_GT(metrics_.value(Metric::blobs_quarantined), 2);
  RecordProperty("points", static_cast<int>(checked_));
  RecordProperty("replayed", static_cast<int>(replayed_));
  RecordProperty("claims", static_cast<int>(claims_));
  close();
}

}  // namespace
}  // namespace hffs::test
