// SPDX-License-Identifier: Apache-2.0
//
// The transfer engine with a blob and an origin in memory around it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "engine.h"
#include "transfer_fakes.h"
#include "wait.h"

namespace hffs::test {

// Until `condition`, which another thread makes true.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2'000 && !condition(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return condition();
}

inline constexpr std::uint64_t kSize = 10 * kBlockSize + 123;
inline constexpr BlockIndex kBlocks = 11;  // of kSize bytes

class TransferTest : public testing::Test {
 protected:
  void start(TransferOptions options = {}) {
    options.retry_first = std::chrono::milliseconds(5);
    options.retry_most = std::chrono::milliseconds(20);
    engine_ = std::make_shared<transfer::Engine>(options, origin_, system_clock(), metrics_);
    engine_->start();
  }
  void TearDown() override {
    if (engine_) engine_->stop();
  }
  Result<void> fetch(ByteRange range, std::stop_token stop = {}) {
    return wait_for<void>(
        [&](Done<void> done) { engine_->fetch(blob_, sources_, range, stop, std::move(done)); });
  }

  Result<void> fetch_ahead(ByteRange range) {
    return wait_for<void>(
        [&](Done<void> done) { engine_->fetch(blob_, sources_, range, {}, std::move(done), true); });
  }

  // Blobs of their own, by path, and how many of their readers were served.
  struct File {
    std::shared_ptr<MemoryBlob> blob;
    std::vector<FileSource> sources;
    std::atomic<int> here = 0, failed = 0;
  };
  File& file(const std::string& path) {
    for (File& each : files_)
      if (each.sources.front().path == path) return each;
    File& added = files_.emplace_back();
    added.blob = std::make_shared<MemoryBlob>(kSize, files_.size());
    added.sources = sources_;
    added.sources.front().path = path;
    return added;
  }

  Metrics metrics_;
  std::deque<File> files_;  // before what completes into it
  RangeOrigin origin_;
  std::shared_ptr<MemoryBlob> blob_ = std::make_shared<MemoryBlob>(kSize);
  static FileSource source(const std::string& repo) {
    return {*RepoId::parse(RepoType::model, repo), *CommitId::parse(std::string(40, 'c')), "x.bin",
            *BlobId::parse(std::string(64, 'a')), kSize};
  }
  std::vector<FileSource> sources_{source("a/b")};
  std::shared_ptr<transfer::Engine> engine_;
};

}  // namespace hffs::test
