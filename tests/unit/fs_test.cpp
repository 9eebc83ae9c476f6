// SPDX-License-Identifier: Apache-2.0
//
// The rules of writing as a table, rows, the tree of the overlay, and words of the FUSE protocol.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "fuse_convert.h"
#include "hffs/activity.h"
#include "hffs/record.h"
#include "hffs/recorder.h"
#include "manual_clock.h"
#include "on_behalf.h"
#include "overlay_rows.h"
#include "overlay_tree.h"
#include "parked.h"
#include "parking.h"
#include "write_rules.h"

namespace hffs::fs {
namespace {

// Each of many failures may be news; the log is everybody's.
TEST(Activity, ALogHasRoomForEveryUser) {
  test::ManualClock clock;
  Activity activity(clock);
  int granted = 0;
  for (int i = 1; i <= 50; ++i) {
    const Activity::Line line = activity.take_line(7);
    granted += line.granted ? 1 : 0;
    EXPECT_EQ(line.last, i == 30);
    EXPECT_EQ(line.left_out, 0u);
  }
  EXPECT_EQ(granted, 30);
  EXPECT_TRUE(activity.take_line(8).granted);
  clock.advance(std::chrono::seconds(59));
  EXPECT_FALSE(activity.take_line(7).granted);
  clock.advance(std::chrono::seconds(1));
  const Activity::Line next = activity.take_line(7);
  EXPECT_TRUE(next.granted);
  EXPECT_EQ(next.left_out, 21u);
  EXPECT_EQ(activity.take_line(7).left_out, 0u);
  EXPECT_EQ(activity.take_line(8).left_out, 0u);
}

// Everybody's lookups are slow while there is a recording: one that nobody will end must not stay.
TEST(Recorder, OneWhoseRootHasEndedIsForgotten) {
  Recorder recorder;
  const pid_t root = ::fork();
  if (root == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_TRUE(recorder.begin(root));
  EXPECT_EQ(recorder.find(::getpid()), 0u);
  EXPECT_TRUE(recorder.active());
  ::kill(root, SIGKILL);
  ::waitpid(root, nullptr, 0);
  for (int i = 0; i < 100 && recorder.active(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(recorder.find(::getpid()), 0u);
  }
  EXPECT_FALSE(recorder.active());
}

const std::string kHex(64, 'e');

NodeId of(NodeKind kind) {
  return NodeId::of(kind, 7);
}
const NodeId kLocks = NodeId::of(FixedNode::locks);

struct RuleRow {
  NodeId directory;
  std::string name;
  Rule file, directory_rule, link;
};

TEST(WriteRules, WhatMayBeMadeWhere) {
  constexpr Rule no = Rule::refused, own = Rule::own, eaten = Rule::absorbed;
  const RuleRow rows[] = {
      {kRootNode, "vllm.lock", own, no, no},
      {kRootNode, "tmpabc", own, own, own},
      {kRootNode, "foo", no, no, no},
      {kRootNode, "blobs", no, no, no},
      {kRootNode, "x.tmp", no, no, no},
      {kRootNode, "x.incomplete", no, no, no},
      {kRootNode, "models--a--b", no, own, no},
      {kRootNode, "models--a--b--c", no, no, no},
      {kRootNode, "models--a--b.lock", own, no, no},
      {kLocks, "models--a--b", own, own, own},
      {NodeId::of(FixedNode::cachedir_tag), "x", no, no, no},
      {of(NodeKind::repo), "tmp12345678", own, own, own},
      {of(NodeKind::repo), "x.lock", no, no, no},
      {of(NodeKind::repo), "snapshots2", no, no, no},
      {of(NodeKind::blobs_root), kHex + ".lock", own, no, no},
      {of(NodeKind::blobs_root), kHex + ".0a.incomplete", own, no, no},
      {of(NodeKind::blobs_root), "tmp_0-1", own, own, own},
      {of(NodeKind::blobs_root), kHex, no, no, no},
      {of(NodeKind::blobs_root), "foo", no, no, no},
      {of(NodeKind::refs_root), "main.0a.tmp", own, own, no},
      {of(NodeKind::refs_root), "main", eaten, own, no},
      {of(NodeKind::ref), "1", eaten, own, no},
      {of(NodeKind::trees), "x.json", own, own, own},
      {of(NodeKind::no_exist), std::string(40, '9'), own, own, own},
      {of(NodeKind::no_exist_dir), "x", own, own, own},
      {of(NodeKind::absent_dir), "x", own, own, own},
      {of(NodeKind::snapshots), std::string(40, '5'), no, no, no},
      {of(NodeKind::tree), "tmpx", no, no, no},
  };
  for (const RuleRow& row : rows) {
    SCOPED_TRACE(fmt::format("{:#x}/{}", row.directory.value, row.name));
    EXPECT_EQ(may_make(row.directory, row.name, Making::file), row.file);
    EXPECT_EQ(may_make(row.directory, row.name, Making::directory), row.directory_rule);
    EXPECT_EQ(may_make(row.directory, row.name, Making::link), row.link);
    // Where nothing may lie nothing is looked for, and the other way round.
    const bool any = row.file == own || row.directory_rule == own || row.link == own;
    if (any) {
      EXPECT_NE(sight_of(row.directory, row.name), Sight::published);
      EXPECT_TRUE(may_hold_overlay(row.directory));
    }
  }
}

TEST(WriteRules, BelowTheOverlay) {
  for (const Making what : {Making::file, Making::directory, Making::link})
    EXPECT_EQ(may_make(Territory::ordinary, "anything", what), Rule::own);
  EXPECT_EQ(may_make(Territory::refs, "main", Making::file), Rule::absorbed);
  EXPECT_EQ(may_make(Territory::refs, "main.tmp", Making::file), Rule::own);
  EXPECT_EQ(may_make(Territory::refs, "d", Making::directory), Rule::own);
  EXPECT_EQ(may_make(Territory::refs, "l", Making::link), Rule::refused);
  EXPECT_EQ(territory_of(of(NodeKind::ref)), Territory::refs);
  EXPECT_EQ(territory_of(of(NodeKind::refs_root)), Territory::refs);
  EXPECT_EQ(territory_of(of(NodeKind::trees)), Territory::ordinary);
}

TEST(WriteRules, Moves) {
  EXPECT_EQ(may_move_to(of(NodeKind::blobs_root), kHex, Making::file), Rule::blob);
  EXPECT_EQ(may_move_to(of(NodeKind::blobs_root), kHex.substr(0, 40), Making::file), Rule::blob);
  EXPECT_EQ(may_move_to(of(NodeKind::blobs_root), kHex, Making::link), Rule::refused);
  EXPECT_EQ(may_move_to(of(NodeKind::blobs_root), kHex.substr(0, 41), Making::file),
            Rule::refused);
  EXPECT_EQ(may_move_to(kRootNode, "models--a--b", Making::directory), Rule::refused);
  EXPECT_EQ(may_move_to(kRootNode, "tmpx", Making::directory), Rule::own);
  EXPECT_EQ(may_move_to(of(NodeKind::refs_root), "main", Making::file), Rule::absorbed);
}

TEST(WriteRules, WhoIsAskedFirst) {
  EXPECT_EQ(sight_of(kRootNode, "models--a--b"), Sight::published_first);
  EXPECT_EQ(sight_of(kRootNode, "models--a--b.lock"), Sight::overlay);
  EXPECT_EQ(sight_of(kRootNode, "CACHEDIR.TAG"), Sight::published);
  EXPECT_EQ(sight_of(kLocks, "models--a--b"), Sight::overlay);
  EXPECT_EQ(sight_of(of(NodeKind::refs_root), "main"), Sight::published_first);
  EXPECT_EQ(sight_of(of(NodeKind::refs_root), "main.tmp"), Sight::overlay);
  EXPECT_EQ(sight_of(of(NodeKind::no_exist_dir), "x"), Sight::overlay_first);
  EXPECT_EQ(sight_of(of(NodeKind::tree), "poetry.lock"), Sight::published);
  EXPECT_EQ(sight_of(of(NodeKind::blobs_root), kHex), Sight::published);
}

OverlayRow row(std::uint64_t number, NodeId parent, std::string name, uid_t user = 1) {
  return {.number = number, .user = user, .parent = parent, .name = std::move(name)};
}

TEST(OverlayRows, ARowComesBack) {
  OverlayRow before = row(9, of(NodeKind::repo), "name\n\xff", 4'294'967'294u);
  before.group = 5;
  before.kind = FileKind::symlink;
  before.territory = Territory::refs;
  before.mode = 07755;
  before.modified = WallTime(std::chrono::seconds(-5));
  before.target = "../x";
  const std::string bytes = encode(before);
  const std::string key = KeyWriter().u64(9).bytes();
  const auto after = decode(key, bytes);
  ASSERT_TRUE(after);
  EXPECT_EQ(encode(*after), bytes);
  EXPECT_EQ(after->number, 9u);
  EXPECT_EQ(after->user, before.user);
  EXPECT_EQ(after->name, before.name);
  EXPECT_EQ(after->target, before.target);
  EXPECT_EQ(after->modified, before.modified);
  EXPECT_EQ(after->parent, before.parent);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode(key, bytes.substr(0, length))) << length;
  EXPECT_FALSE(decode(key, bytes + "x"));
  EXPECT_FALSE(decode(key.substr(1), bytes));
  std::string newer = bytes;
  newer[0] = 2;
  EXPECT_FALSE(decode(key, newer));
}

TEST(OverlayTree, NamesOfEachUser) {
  OverlayTree tree;
  tree.insert({.row = row(1, kLocks, "a", 1), .data = {}});
  tree.insert({.row = row(2, kLocks, "a", 2), .data = {}});
  tree.insert({.row = row(3, kLocks, "b", 1), .data = {}});
  EXPECT_EQ(tree.child(1, kLocks, "a")->row.number, 1u);
  EXPECT_EQ(tree.child(2, kLocks, "a")->row.number, 2u);
  EXPECT_EQ(tree.child(2, kLocks, "b"), nullptr);
  EXPECT_EQ(tree.children(1, kLocks, 0, 9), (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(tree.children(1, kLocks, 0, 1), (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(tree.children(1, kLocks, 1, 9), (std::vector<std::uint64_t>{3}));
  tree.take_name(*tree.find(1));
  EXPECT_EQ(tree.child(1, kLocks, "a"), nullptr);
  EXPECT_NE(tree.find(1), nullptr);
  tree.erase(1);
  EXPECT_EQ(tree.find(1), nullptr);
  tree.move(*tree.find(3), of(NodeKind::trees), "c");
  EXPECT_FALSE(tree.has_children(1, kLocks));
  EXPECT_TRUE(tree.has_children(2, kLocks));
  EXPECT_EQ(tree.child(1, of(NodeKind::trees), "c")->row.number, 3u);
}

TEST(OverlayTree, WhatLiesBelow) {
  OverlayTree tree;
  const auto node = [](std::uint64_t number) { return NodeId::of(NodeKind::overlay, number); };
  tree.insert({.row = row(1, kLocks, "a"), .data = {}});
  tree.insert({.row = row(2, node(1), "b"), .data = {}});
  tree.insert({.row = row(3, node(2), "c"), .data = {}});
  EXPECT_TRUE(tree.lies_below(node(3), 1));
  EXPECT_TRUE(tree.lies_below(node(1), 1));
  EXPECT_FALSE(tree.lies_below(node(1), 3));
  EXPECT_FALSE(tree.lies_below(kLocks, 1));
}

TEST(Parked, WhoeverIsFirstAnswers) {
  std::stop_source stop;
  int answers = 0;
  Code code = Code::bug;
  const auto listen = [&](Result<int> result) {
    ++answers;
    code = result ? Code::exists : result.error().code;
  };
  auto done = Parked<int>::wrap(stop.get_token(), listen);
  done(1);
  stop.request_stop();
  EXPECT_EQ(answers, 1);
  EXPECT_EQ(code, Code::exists);
  std::stop_source second;
  auto late = Parked<int>::wrap(second.get_token(), listen);
  second.request_stop();
  EXPECT_EQ(answers, 2);
  EXPECT_EQ(code, Code::cancelled);
  late(1);
  EXPECT_EQ(answers, 2);
  auto stopped = Parked<int>::wrap(second.get_token(), listen);
  EXPECT_EQ(answers, 3);
  stopped(1);
  EXPECT_EQ(answers, 3);
}

TEST(Parked, StopAndAnswerAtOnce) {
  for (int round = 0; round < 300; ++round) {
    std::stop_source stop;
    std::atomic<int> answers = 0;
    auto done = Parked<int>::wrap(stop.get_token(), [&](Result<int>) { ++answers; });
    std::thread other([&] { stop.request_stop(); });
    done(1);
    done = nullptr;
    other.join();
    EXPECT_EQ(answers, 1);
  }
}

// A child that waits for its end.
pid_t sleeper() {
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  return child;
}

TEST(Parking, OnlyADyingCallerStopsADeadlyWait) {
  Parking parking;
  const pid_t child = sleeper();
  const auto any = parking.park(child, Signals::any);
  const auto deadly = parking.park(child, Signals::deadly);
  const auto unseen = parking.park(0, Signals::deadly);
  EXPECT_EQ(find_life(child), Life::alive);
  parking.interrupt(any.number);
  parking.interrupt(deadly.number);
  parking.interrupt(unseen.number);
  EXPECT_TRUE(any.stop.stop_requested());
  EXPECT_FALSE(deadly.stop.stop_requested());
  EXPECT_TRUE(unseen.stop.stop_requested());
  ::kill(child, SIGKILL);
  for (int i = 0; i < 500 && !deadly.stop.stop_requested(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(deadly.stop.stop_requested());
  EXPECT_EQ(find_life(child), Life::dying);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(find_life(child), Life::dying);
  for (const auto& place : {any, deadly, unseen}) parking.leave(place.number);
}

TEST(Parking, WhoWaitsLongIsLookedAfterWithoutAnInterrupt) {
  Parking parking;
  const pid_t child = sleeper();
  const auto place = parking.park(child, Signals::deadly);
  const auto alive = parking.park(::getpid(), Signals::deadly);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  for (int i = 0; i < 500 && !place.stop.stop_requested(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(place.stop.stop_requested());
  EXPECT_FALSE(alive.stop.stop_requested());
  parking.leave(place.number);
  std::thread last([&] {
    while (!alive.stop.stop_requested()) std::this_thread::yield();
    parking.leave(alive.number);
  });
  parking.clear();
  last.join();
}

TEST(FuseConvert, BlocksAndTimes) {
  Attr attr{.kind = FileKind::regular, .inode = 5, .size = 10'000, .bytes_here = 1};
  attr.modified = WallTime(std::chrono::seconds(77));
  EXPECT_EQ(to_stat(attr).st_blocks, 1);
  EXPECT_EQ(to_stat(attr).st_mtim.tv_sec, 77);
  EXPECT_EQ(to_stat(attr).st_nlink, 1u);
  EXPECT_TRUE(S_ISREG(to_stat(attr).st_mode));
  attr.bytes_here = 0;
  EXPECT_EQ(to_stat(attr).st_blocks, 1) << "a file that is not empty has no block";
  attr.bytes_here = 10'000;
  EXPECT_EQ(to_stat(attr).st_blocks, 20);
  attr.size = attr.bytes_here = 0;
  EXPECT_EQ(to_stat(attr).st_blocks, 0);
  attr.kind = FileKind::symlink;
  EXPECT_TRUE(S_ISLNK(to_stat(attr).st_mode));
  const auto absent = to_entry({.node = {}, .entry_ttl = std::chrono::milliseconds(1'500)});
  EXPECT_EQ(absent.ino, 0u);
  EXPECT_DOUBLE_EQ(absent.entry_timeout, 1.5);
}

TEST(FuseConvert, Changes) {
  struct stat wanted{};
  wanted.st_mode = S_IFREG | 0640;
  wanted.st_size = 9;
  wanted.st_mtim.tv_sec = 3;
  const WallTime now{std::chrono::seconds(100)};
  const auto mode = to_change(wanted, FUSE_SET_ATTR_MODE, now);
  EXPECT_EQ(mode.mode, 0640u);
  EXPECT_FALSE(mode.size || mode.modified || mode.owner || mode.group);
  EXPECT_EQ(to_change(wanted, FUSE_SET_ATTR_SIZE, now).size, 9u);
  EXPECT_EQ(to_change(wanted, FUSE_SET_ATTR_MTIME, now).modified,
            WallTime(std::chrono::seconds(3)));
  EXPECT_EQ(to_change(wanted, FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW, now).modified, now);
}

// The first answers are those to the question of somebody else, whom this asker has joined.
TEST(OnBehalfTest, WhoJoinedTheQuestionOfOneWhoMayNotAsksItHimself) {
  const auto as_it_is = [](Error error) { return error; };
  for (const int refusals : {0, 1, 3, 4}) {
    int asked = 0;
    Result<int> got = 0;
    fs::on_behalf<int>(
        Caller{.uid = 7},
        [&](Done<int> done) {
          EXPECT_EQ(Asking::now()->caller.uid, 7u);
          if (++asked <= refusals) return done(fail(Code::over_quota, "another's"));
          done(42);
        },
        as_it_is, [&](Result<int> answer) { got = std::move(answer); });
    EXPECT_EQ(got.has_value(), refusals < 4) << refusals;
    EXPECT_EQ(asked, std::min(refusals, 3) + 1);
    EXPECT_EQ(Asking::now(), nullptr);
  }
}

TEST(OnBehalfTest, WhoIsRefusedHimselfHearsThatOnce) {
  int asked = 0;
  Code code{};
  fs::on_behalf<int>(
      Caller{.uid = 7},
      [&](Done<int> done) {
        ++asked;
        Asking::now()->refuse({Code::denied, "you", {}});
        done(fail(Code::over_quota, "you"));
      },
      [](Error error) {
        EXPECT_EQ(error.code, Code::denied);
        error.code = Code::not_found;
        return error;
      },
      [&](Result<int> answer) { code = answer.error().code; });
  EXPECT_EQ(code, Code::not_found);
  EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace hffs::fs
