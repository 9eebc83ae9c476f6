// SPDX-License-Identifier: Apache-2.0
//
// What tests of the hub client share: a client on scripted servers, ids, JSON, and a sink that
// keeps what it hears.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>

#include "hffs/hub.h"
#include "http_server.h"
#include "wait.h"

namespace hffs::test {

inline const std::string kCommit(40, 'c');
inline const std::string kSha256(64, 'a');
inline const std::string kSha1(40, 'b');

inline RepoId repo(const std::string& text = "acme/tiny") {
  return *RepoId::parse_user(text);
}
inline CommitId commit(const std::string& hex = kCommit) {
  return *CommitId::parse(hex);
}

inline std::string info_json(const std::string& sha = kCommit,
                             const std::string& id = "acme/tiny") {
  return R"({"id":")" + id + R"(","sha":")" + sha +
         R"(","lastModified":"2024-03-01T10:20:30.000Z","private":false,"gated":false})";
}
inline std::string file_json(const std::string& path, int size = 3) {
  return R"({"type":"file","path":")" + path + R"(","oid":")" + kSha1 + R"(","size":)" +
         std::to_string(size) + "}";
}

// A sink that keeps everything. `on_bytes` may answer pause or stop.
struct Heard final : RangeSink {
  void on_start(ByteRange delivered) override {
    std::lock_guard lock(mutex);
    start = delivered;
    ++starts;
  }
  Flow on_data(std::uint64_t offset, std::span<const std::byte> part) override {
    const Flow flow = on_bytes ? on_bytes(offset, part) : Flow::more;
    std::lock_guard lock(mutex);
    if (flow != Flow::more) return flow;
    if (start && offset != start->offset + bytes.size()) out_of_order = true;
    bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    return flow;
  }
  void on_done(Result<void> outcome) override {
    std::lock_guard lock(mutex);
    result = std::move(outcome);
    ++dones;
    changed.notify_all();
  }
  // Waits for the end; the code of the error, or nothing for success.
  std::optional<Code> end(std::chrono::seconds limit = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, limit, [&] { return dones > 0; })) return Code::bug;
    return *result ? std::nullopt : std::optional(result->error().code);
  }

  std::function<Flow(std::uint64_t, std::span<const std::byte>)> on_bytes;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<ByteRange> start;
  std::string bytes;
  std::optional<Result<void>> result;
  int starts = 0, dones = 0;
  bool out_of_order = false;
};

class HubTest : public ::testing::Test {
 protected:
  // The client; by default on `server` alone.
  void open(std::function<void(OriginOptions&)> change = {}) {
    OriginOptions options{.endpoints = {server.url()}};
    if (change) change(options);
    auto opened = open_hub(std::move(options), system_clock(), metrics);
    ASSERT_TRUE(opened) << opened.error().message;
    hub = std::move(*opened);
  }
  Result<RepoInfo> revision(const std::string& name = "main", const RepoId& of = repo()) {
    return wait_for<RepoInfo>(
        [&](Done<RepoInfo> done) { hub->fetch_revision(of, name, std::move(done)); });
  }
  Result<TreePage> tree(const std::string& cursor = "", const CommitId& of = commit()) {
    return wait_for<TreePage>(
        [&](Done<TreePage> done) { hub->fetch_tree_page(repo(), of, cursor, std::move(done)); });
  }
  Result<std::vector<TreeEntry>> paths(std::vector<std::string> names) {
    return wait_for<std::vector<TreeEntry>>([&](Done<std::vector<TreeEntry>> done) {
      hub->fetch_paths(repo(), commit(), std::move(names), std::move(done));
    });
  }
  Result<RefList> refs() {
    return wait_for<RefList>([&](Done<RefList> done) { hub->fetch_refs(repo(), std::move(done)); });
  }
  std::shared_ptr<RangeFetch> fetch(const std::shared_ptr<Heard>& sink, ByteRange range,
                                    std::uint64_t size, const std::string& path = "model.bin") {
    return hub->fetch_range({repo(), commit(), path, *BlobId::parse(kSha256), size}, range, sink);
  }
  static double seconds_of(const std::function<void()>& action) {
    const auto began = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
  // Of ten times the sixth: what a pause of the machine does not change.
  static double usual_seconds_of(const std::function<void()>& action) {
    std::array<double, 10> times;
    for (double& each : times) each = seconds_of(action);
    std::ranges::sort(times);
    return times[5];
  }
  std::int64_t count(Metric metric) const { return metrics.value(metric); }

  HttpServer server;
  Metrics metrics;
  std::unique_ptr<Origin> hub;
};

}  // namespace hffs::test
