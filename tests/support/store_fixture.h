// SPDX-License-Identifier: Apache-2.0
//
// A real store in a temporary directory, and blobs whose bytes follow from a seed.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "blob_rows.h"
#include "hffs/store.h"
#include "temporary.h"
#include "wait.h"

namespace hffs::test {

using Bytes = std::vector<std::byte>;

// Three blocks and a part of one.
constexpr std::uint64_t kOdd = 3 * kBlockSize + 17;

inline Bytes content(std::uint64_t seed, std::uint64_t size) {
  Bytes bytes(size);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (std::uint64_t i = 0; i < size; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(bytes.data() + i, &state, std::min<std::uint64_t>(8, size - i));
  }
  return bytes;
}

// `part` is what `whole` has at `offset`. One call of memcmp: under a sanitizer a loop over every
// byte is what most of a run goes into.
inline bool is_part(std::span<const std::byte> part, std::span<const std::byte> whole,
                    std::uint64_t offset) {
  return offset + part.size() <= whole.size() &&
         (part.empty() || std::memcmp(part.data(), whole.data() + offset, part.size()) == 0);
}

// What a listener heard, to be waited for.
class Heard {
 public:
  void add(const BlobInfo& info) {
    const std::lock_guard lock(mutex_);
    events_.push_back(info);
    changed_.notify_all();
  }
  // The first event of this blob at or after `incarnation`.
  std::optional<BlobInfo> wait(std::uint64_t number, std::uint32_t incarnation,
                               std::chrono::seconds most = std::chrono::seconds(60)) {
    std::unique_lock lock(mutex_);
    std::optional<BlobInfo> found;
    changed_.wait_for(lock, most, [&] {
      for (const BlobInfo& event : events_)
        if (event.number == number && event.incarnation >= incarnation) found = event;
      return found.has_value();
    });
    return found;
  }
  std::vector<BlobInfo> all() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<BlobInfo> events_;
};

inline Result<void> write_blocks(Blob& blob, BlockRun run, const Bytes& whole) {
  const ByteRange range = bytes_of(run, whole.size());
  Bytes part(whole.begin() + static_cast<std::ptrdiff_t>(range.offset),
             whole.begin() + static_cast<std::ptrdiff_t>(range.end()));
  return wait_for<void>(
      [&](Done<void> done) { blob.write(run.first, std::move(part), std::move(done)); });
}

// Writes what is missing.
inline Result<void> fill(Blob& blob, const Bytes& whole) {
  for (const BlockRun& run : blob.missing({0, whole.size()}))
    if (auto written = write_blocks(blob, run, whole); !written) return written;
  return {};
}

inline Result<Bytes> read_all(const Blob& blob) {
  Bytes bytes(blob.identity().size);
  auto count = blob.read(0, bytes);
  if (!count) return fail(count);
  bytes.resize(*count);
  return bytes;
}

inline Bytes file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  Bytes bytes(static_cast<std::size_t>(file.tellg()));
  file.seekg(0).read(reinterpret_cast<char*>(bytes.data()),
                     static_cast<std::streamsize>(bytes.size()));
  return bytes;
}
inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

inline std::optional<BlobRow> row_of(const Store& store, std::uint64_t number) {
  std::optional<BlobRow> row;
  store.read([&](const ReadTxn& txn) { row = load_blob_row(txn, number); });
  return row;
}

inline std::uint64_t add_blob(Store& store, const BlobId& id, std::uint64_t size) {
  std::uint64_t number = 0;
  const auto added = wait_for<void>([&](Done<void> done) {
    store.write([&](WriteTxn& txn) { number = store.add_blob(txn, id, size); }, std::move(done));
  });
  EXPECT_TRUE(added) << added.error().message;
  return number;
}

class StoreTest : public testing::Test {
 protected:
  ~StoreTest() override { close(); }

  Result<void> try_open() {
    auto opened = Store::open(options_, *disk_, system_clock(), metrics_);
    if (!opened) return fail(opened);
    store_ = std::move(*opened);
    store_->on_incarnation([this](const BlobInfo& info) { heard_->add(info); });
    return {};
  }
  void open() {
    const auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
  }
  void close() { store_.reset(); }
  void reopen() {
    close();
    heard_ = std::make_unique<Heard>();
    open();
  }
  std::string root() const { return directory_.path() + "/hffs-v1"; }
  std::string verified_file(const BlobId& id) const {
    return root() + "/blobs/" + id.hex().substr(0, 2) + "/" + id.hex();
  }
  std::size_t files_in(const std::string& folder) const {
    const auto files = std::filesystem::directory_iterator(root() + "/" + folder);
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }
  std::uint64_t add(const Bytes& bytes, BlobId::Kind kind = BlobId::Kind::sha256) {
    return add_blob(*store_, id_of(bytes, kind), bytes.size());
  }
  std::shared_ptr<Blob> blob(std::uint64_t number) {
    auto opened = store_->open_blob(number);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *opened : nullptr;
  }
  // Fills the blob and waits for the verdict.
  void fill_and_verify(std::uint64_t number, const Bytes& bytes) {
    const auto filling = blob(number);
    const auto filled = fill(*filling, bytes);
    ASSERT_TRUE(filled) << filled.error().message;
    const auto event = heard_->wait(number, filling->identity().incarnation + 1);
    ASSERT_TRUE(event) << "no verdict";
    ASSERT_TRUE(event->verified);
  }

  TemporaryDirectory directory_;
  StoreOptions options_{.state_dir = directory_.path(),
                        .map_size = std::uint64_t{64} << 20,
                        .sync_interval = std::chrono::milliseconds(20)};
  Disk* disk_ = &system_disk();
  Metrics metrics_;
  std::unique_ptr<Heard> heard_ = std::make_unique<Heard>();
  std::unique_ptr<Store> store_;
};

}  // namespace hffs::test
