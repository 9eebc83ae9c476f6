// SPDX-License-Identifier: Apache-2.0
//
// A store on a disk that fails when a test says so.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "faulty_disk.h"
#include "store_fixture.h"

namespace hffs::test {

class FaultTest : public StoreTest {
 protected:
  FaultTest() {
    options_.sync_interval = std::chrono::milliseconds(5);
    disk_ = &faulty_;
  }
  ~FaultTest() override { close(); }  // while there still is a disk
  // The `nth` (from 0) call of kind `op` from now on fails.
  void fail_once(Op op, int nth, Code code) {
    const std::lock_guard lock(mutex_);
    op_ = op;
    countdown_ = nth;
    code_ = code;
    always_ = false;
  }
  void fail_always(Op op, Code code) {
    fail_once(op, 0, code);
    always_ = true;
  }
  void heal() {
    always_ = false;
    const std::lock_guard lock(mutex_);
    countdown_ = -1;
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return countdown_ < 0;
  }
  // As transfer does it: whatever is missing is fetched until the blob is verified.
  bool fill_at_last(std::uint64_t number, const Bytes& bytes) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < deadline) {
      const auto opened = store_->open_blob(number);
      if (opened) {
        if ((*opened)->identity().verified && read_all(**opened)) return true;
        (void)fill(**opened, bytes);
        // What can be read is right, at any time.
        Bytes some(std::min<std::uint64_t>(bytes.size(), 4'096));
        if (const auto count = (*opened)->read(0, some); count) {
          EXPECT_TRUE(is_part(some, bytes, 0));
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  // Unless the disk took bytes away, so that none will come.
  void wait_for_verdict(std::uint64_t number, std::uint64_t size) {
    for (int i = 0; i < 2'000; ++i) {
      const auto opened = store_->open_blob(number);
      if (opened &&
          ((*opened)->identity().incarnation > 1 || !(*opened)->missing({0, size}).empty()))
        return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  FaultyDisk faulty_{[this](Op op, const std::string&) -> Result<void> {
    if (hook_) return hook_(op);
    const std::lock_guard lock(mutex_);
    if (countdown_ < 0 || op != op_) return {};
    if (!always_ && countdown_-- > 0) return {};
    return fail(code_, "{} fails here", name_of(op));
  }};
  std::function<Result<void>(Op)> hook_;  // in place of the rest
  std::mutex mutex_;
  Op op_ = Op::open;  // below: guarded by mutex_
  int countdown_ = -1;
  Code code_ = Code::io;
  std::atomic<bool> always_{false};
};

}  // namespace hffs::test
