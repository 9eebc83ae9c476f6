// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "hffs/access.h"
#include "hffs/wallet.h"
#include "manual_clock.h"
#include "subordinate.h"
#include "temporary.h"
#include "wait.h"

namespace hffs {
namespace {

using namespace std::chrono_literals;
using test::wait_for;

constexpr uid_t kOwn = 0, kAlice = 1'001, kBob = 1'002;
const RepoId kRepo = *RepoId::parse_user("acme/mine");

// A Hub of one repository, which answers at once.
class OneRepo final : public Origin {
 public:
  void fetch_revision(const RepoId&, const std::string&, Done<RepoInfo> done) override {
    done(fail(Code::bug, "not asked here"));
  }
  void fetch_tree_page(const RepoId&, const CommitId&, const std::string&, Done<TreePage>) override {}
  void fetch_paths(const RepoId&, const CommitId&, std::vector<std::string>,
                   Done<std::vector<TreeEntry>>) override {}
  void fetch_refs(const RepoId&, Done<RefList>) override {}
  std::shared_ptr<RangeFetch> fetch_range(const FileSource&, ByteRange,
                                          std::shared_ptr<RangeSink>) override {
    return nullptr;
  }
  std::vector<Health> health() const override { return {}; }

  void look(const RepoId& repo, Done<RepoInfo> done) override {
    ++looks;
    if (away) return done(fail(Code::unreachable, "away"));
    if (visibility == Visibility::hidden) return done(fail(Code::not_found, "no repository"));
    done(RepoInfo{.id = repo, .tells_access = tells, .is_gated = visibility == Visibility::gated});
  }
  void check_access(const RepoId&, Secret token, Done<void> done) override {
    ++checks;
    if (on_check) std::exchange(on_check, nullptr)();
    if (away) return done(fail(Code::unreachable, "away"));
    if (token.reveal() == "bad") return done(fail(Code::needs_login, "invalid credentials"));
    if (visibility == Visibility::open || may.contains(token.reveal())) return done({});
    done(fail(visibility == Visibility::gated ? Code::denied : Code::not_found, "no"));
  }

  Visibility visibility = Visibility::hidden;
  std::set<std::string> may{"alices"};
  bool away = false, tells = true;
  int looks = 0, checks = 0;
  std::function<void()> on_check;
};

class Tokens final : public Wallet {
 public:
  uid_t owner_of(uid_t user) const override { return user >= 100'000 ? kAlice : user; }
  void find(const Caller& caller, Done<Secret> done) override {
    if (hang) return done(fail(Code::timed_out, "a home that hangs"));
    done(Secret(by_user[caller.uid]));
  }
  void doubt(uid_t user) override { ++doubts[user]; }
  Result<void> keep(uid_t, const Secret&) override { return {}; }
  Result<bool> drop(uid_t) override { return true; }
  void stop() override {}
  std::map<uid_t, std::string> by_user{{kAlice, "alices"}};
  std::map<uid_t, int> doubts;
  bool hang = false;
};

class AccessTest : public testing::Test {
 protected:
  AccessTest() { open(); }
  void open() {
    access = open_access({.own = kOwn, .ttl = 60s, .missing_ttl = 10s}, hub, wallet, grants, clock);
    access->connect(
        [this](const RepoId& repo, Done<RepoInfo> done) {
          hub.look(repo, [this, repo, done = std::move(done)](Result<RepoInfo> info) mutable {
            if (info && info->tells_access)
              kept = *access->note(repo, info->id,
                                   info->is_gated ? Visibility::gated : Visibility::open);
            done(std::move(info));
          });
        },
        [this](const RepoId&, const Standing& standing) { kept = standing; });
    access->recall(kRepo, kRepo, kept);
  }
  // 0: he may; else why not.
  int decide(uid_t user) {
    auto pass = wait_for<Pass>(
        [&](auto done) { access->decide(Caller{.uid = user}, kRepo, std::move(done)); });
    everybody = pass && pass->for_everybody.count() > 0;
    return pass ? 0 : info(pass.error().code).errno_value;
  }

  test::ManualClock clock;
  OneRepo hub;
  Tokens wallet;
  Grants grants;
  Standing kept;
  std::unique_ptr<AccessControl> access;
  bool everybody = false;
};

TEST_F(AccessTest, WhoHasLoggedOutSeesWhatHasBecomePublic) {
  hub.visibility = Visibility::gated;
  EXPECT_EQ(decide(kAlice), 0);
  wallet.by_user.clear();
  access->forget(kAlice);
  hub.visibility = Visibility::open;
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_TRUE(everybody);
}

TEST_F(AccessTest, PublicIsForEverybodyAndCostsOneLook) {
  hub.visibility = Visibility::open;
  for (const uid_t user : {kBob, kAlice, kOwn}) {
    EXPECT_EQ(decide(user), 0);
    EXPECT_TRUE(everybody);
  }
  EXPECT_EQ(hub.looks, 1);
  EXPECT_EQ(hub.checks, 0);
  EXPECT_TRUE(grants.choose(kRepo).empty());
  EXPECT_EQ(kept.visibility, Visibility::open);
}

TEST_F(AccessTest, WhereNobodySaysForWhomItIsTheFilesAreAskedFor) {
  hub.tells = false;
  hub.visibility = Visibility::gated;
  EXPECT_NE(decide(kBob), 0) << "found by name is not open";
  EXPECT_FALSE(access->is_open(kRepo));
  hub.visibility = Visibility::open;
  clock.advance(31s);
  EXPECT_EQ(decide(kBob), 0);
  EXPECT_TRUE(access->is_open(kRepo));
}

TEST_F(AccessTest, OneUsersLogoutsAreNobodyElses) {
  hub.on_check = [this] { access->forget(kBob); };
  EXPECT_EQ(decide(kAlice), 0);
}

TEST_F(AccessTest, WhoMakesHisOwnCheckFailKeepsNothing) {
  EXPECT_EQ(decide(kAlice), 0);
  access->forget(kAlice);
  wallet.hang = true;
  EXPECT_NE(decide(kAlice), 0) << "no token is known to be good";
}

TEST_F(AccessTest, PrivateIsForWhoIsLetIn) {
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_FALSE(everybody);
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(decide(kOwn), ENOENT);
  EXPECT_TRUE(access->sees({.uid = kAlice}, kRepo));
  EXPECT_FALSE(access->sees({.uid = kBob}, kRepo));
  EXPECT_FALSE(access->is_open(kRepo));
  EXPECT_EQ(grants.choose(kRepo).reveal(), "alices");
  EXPECT_EQ(kept, (Standing{Visibility::hidden, {kAlice}}));
}

TEST_F(AccessTest, AContainersUserIsWhoRunsIt) {
  EXPECT_EQ(decide(100'007), 0);
  EXPECT_TRUE(access->sees({.uid = kAlice}, kRepo));
}

TEST_F(AccessTest, AVerdictRunsOut) {
  EXPECT_EQ(decide(kAlice), 0);
  const int checks = hub.checks;
  clock.advance(59s);
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_EQ(hub.checks, checks);
  clock.advance(2s);
  EXPECT_EQ(decide(kAlice), 0) << "asked behind him";
  EXPECT_EQ(hub.checks, checks + 1);
  hub.may.clear();
  clock.advance(61s);
  EXPECT_EQ(decide(kAlice), 0) << "and that told";
  EXPECT_EQ(decide(kAlice), ENOENT);
  EXPECT_TRUE(grants.choose(kRepo).empty());
  EXPECT_TRUE(kept.readers.empty());
  // Who was away for long is asked about before he gets anything.
  hub.may = {"alices"};
  clock.advance(11s);
  EXPECT_EQ(decide(kAlice), 0);
  hub.may.clear();
  clock.advance(121s);
  EXPECT_FALSE(access->sees({.uid = kAlice}, kRepo));
  EXPECT_EQ(decide(kAlice), ENOENT);
}

TEST_F(AccessTest, TheLastVerdictHoldsWhileTheHubIsAway) {
  EXPECT_EQ(decide(kAlice), 0);
  hub.away = true;
  clock.advance(24h);
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_NE(decide(kBob), 0);
  EXPECT_NE(decide(kOwn), 0) << "uid 0 is everybody in a container";
  open();
  EXPECT_EQ(decide(kAlice), 0) << "in the next process";
  EXPECT_NE(decide(kBob), 0);
  hub.away = false;
  hub.may.clear();
  EXPECT_EQ(decide(kAlice), ENOENT);
  EXPECT_EQ(decide(kOwn), ENOENT);
}

TEST_F(AccessTest, AHomeThatHangsTakesNothingAway) {
  EXPECT_EQ(decide(kAlice), 0);
  wallet.hang = true;
  clock.advance(200s);
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_NE(decide(kBob), 0);
}

TEST_F(AccessTest, GatedIsAnotherRefusal) {
  hub.visibility = Visibility::gated;
  wallet.by_user[kBob] = "bobs";
  EXPECT_EQ(decide(kBob), EACCES);
  EXPECT_EQ(decide(1'003), EACCES) << "without a token";
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_EQ(kept, (Standing{Visibility::gated, {kAlice}}));
  hub.may.insert("bobs");
  clock.advance(3s);
  EXPECT_EQ(decide(kBob), 0);
  // Logged out of what is gated: it is there, and closed.
  wallet.by_user[kBob].clear();
  access->forget(kBob);
  EXPECT_EQ(decide(kBob), EACCES);
  EXPECT_EQ(decide(kAlice), 0);
}

TEST_F(AccessTest, ABadTokenLearnsNothing) {
  wallet.by_user[kBob] = "bad";
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(wallet.doubts[kBob], 1) << "another program of his may have a better one";
  hub.visibility = Visibility::gated;
  clock.advance(31s);
  EXPECT_EQ(decide(kBob), EACCES);
}

TEST_F(AccessTest, LoggingOutHoldsAtOnce) {
  EXPECT_EQ(decide(kAlice), 0);
  wallet.by_user.clear();
  access->forget(kAlice);
  EXPECT_FALSE(access->sees({.uid = kAlice}, kRepo));
  EXPECT_TRUE(grants.choose(kRepo).empty());
  hub.away = true;
  EXPECT_EQ(decide(kAlice), ENOENT) << "nobody needs to be asked about that";
}

TEST_F(AccessTest, AndDuringAQuestion) {
  hub.on_check = [this] { access->forget(kAlice); };
  EXPECT_NE(decide(kAlice), 0);
  EXPECT_FALSE(access->sees({.uid = kAlice}, kRepo));
  EXPECT_TRUE(grants.choose(kRepo).empty());
}

TEST_F(AccessTest, AndDuringAQuestionThatTheHubDoesNotAnswer) {
  EXPECT_EQ(decide(kAlice), 0);
  clock.advance(130s);
  hub.on_check = [this] {
    wallet.by_user.clear();
    access->forget(kAlice);
    hub.away = true;
  };
  EXPECT_NE(decide(kAlice), 0) << "what was said last was said of her login";
}

TEST_F(AccessTest, ARefusalOfBeforeTakesNothingFromWhoLoggedIn) {
  wallet.by_user[kBob] = "not yet";
  hub.on_check = [this] {
    wallet.by_user[kBob] = "alices";
    access->forget(kBob);
    EXPECT_EQ(decide(kBob), 0);
    hub.may.clear();
  };
  EXPECT_NE(decide(kBob), 0);
  EXPECT_TRUE(access->sees({.uid = kBob}, kRepo));
  EXPECT_EQ(grants.choose(kRepo).reveal(), "alices");
}

TEST_F(AccessTest, LoggingInEndsARefusal) {
  EXPECT_EQ(decide(kBob), ENOENT);
  wallet.by_user[kBob] = "alices";
  access->forget(kBob);
  EXPECT_EQ(decide(kBob), 0);
}

TEST_F(AccessTest, PublicThatIsGoneStaysUntilSomebodyHasIt) {
  hub.visibility = Visibility::open;
  EXPECT_EQ(decide(kBob), 0);
  hub.visibility = Visibility::hidden;
  clock.advance(61s);
  EXPECT_EQ(decide(kBob), 0);
  EXPECT_EQ(decide(kBob), 0) << "deleted, as far as anybody here knows";
  clock.advance(61s);
  EXPECT_EQ(decide(kAlice), 0) << "asked behind her";
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(decide(kAlice), 0);
  hub.visibility = Visibility::open;
  clock.advance(11s);
  EXPECT_EQ(decide(kBob), 0);
  EXPECT_TRUE(grants.choose(kRepo).empty()) << "nobody's token is for what is public";
}

TEST_F(AccessTest, WhatWasImportedIsTheImportersUntilAHubKnowsIt) {
  hub.visibility = Visibility::hidden;
  access->note_import(kRepo, kBob);
  EXPECT_EQ(decide(kBob), 0);
  EXPECT_EQ(decide(1'003), ENOENT);
  access->note_import(kRepo, kOwn);
  EXPECT_EQ(decide(1'003), 0);
  access->note(kRepo, kRepo, Visibility::hidden);
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(decide(kAlice), 0);
}

TEST_F(AccessTest, WhatAnEndpointTurnsDownIsAskedAnew) {
  wallet.by_user[kBob] = "bobs";
  hub.may.insert("bobs");
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_EQ(decide(kBob), 0);
  EXPECT_EQ(grants.choose(kRepo).reveal(), "bobs");
  EXPECT_TRUE(grants.note_refused(kRepo, Secret("bobs")));
  EXPECT_EQ(grants.choose(kRepo).reveal(), "alices");
  hub.may.erase("bobs");
  EXPECT_EQ(decide(kBob), ENOENT);
  EXPECT_EQ(decide(kAlice), 0);
  EXPECT_FALSE(grants.note_refused(kRepo, Secret("alices"))) << "none is left";
}

TEST_F(AccessTest, ARenamedRepositoryHasItsGrants) {
  const RepoId after = *RepoId::parse_user("acme/after");
  EXPECT_EQ(decide(kAlice), 0);
  access->note(kRepo, after, Visibility::hidden);
  EXPECT_EQ(grants.choose(after).reveal(), "alices");
  access->forget(kAlice);
  EXPECT_TRUE(grants.choose(after).empty());
  EXPECT_TRUE(grants.choose(kRepo).empty());
}

// --- whose uids

TEST(SubordinateTest, OwnersOfRanges) {
  const test::TemporaryDirectory folder;
  const std::string path = folder.path() + "/subuid";
  std::ofstream(path) << "1001:100000:65536\n"
                         "nobody:200000:10\n"
                         "0:300000:65536\n"
                         "root:400000:10\n"
                         "no-such-user-here:500000:10\n"
                         "1001:x:10\n1001:600000\n:700000:10\n1001:800000:-1\n\n#\n"
                         "1003:0:5\n";
  const auto users = access::SubordinateUsers::load(path);
  const std::map<uid_t, uid_t> owners{
      {100'000, 1'001}, {165'535, 1'001}, {165'536, 165'536}, {99'999, 99'999}, {200'009, 65'534},
      {300'000, 300'000}, {400'000, 400'000}, {500'000, 500'000}, {600'000, 600'000},
      {700'000, 700'000}, {800'000, 800'000}, {0, 0}, {4, 1'003}, {5, 5}};
  for (const auto& [user, owner] : owners) EXPECT_EQ(users.owner_of(user), owner) << user;
  EXPECT_EQ(access::SubordinateUsers::load(folder.path() + "/none").owner_of(7), 7u);
}

// --- tokens

TEST(WalletTest, WhereATokenComesFrom) {
  const test::TemporaryDirectory folder;
  test::ManualClock clock;
  int asked = 0;
  std::string lies = "+hf_from_file\n";
  WalletOptions options{.own = kOwn, .token = Secret("services"), .directory = folder.path() + "/tokens"};
  options.reader = [&](uid_t user, pid_t) -> Result<UniqueFd> {
    ++asked;
    if (user == kBob) return fail(Code::unsupported, "not his");
    int ends[2];
    if (::pipe(ends) != 0) return fail(Code::io, "no pipe");
    (void)!::write(ends[1], lies.data(), lies.size());
    ::close(ends[1]);
    return UniqueFd(ends[0]);
  };
  auto wallet = *Wallet::open(options, clock);
  const auto find = [&](uid_t user) {
    return wait_for<Secret>([&](auto done) { wallet->find({.uid = user}, std::move(done)); })->reveal();
  };
  EXPECT_EQ(find(kOwn), "services");
  EXPECT_EQ(find(kAlice), "hf_from_file");
  EXPECT_EQ(find(kAlice), "hf_from_file");
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(find(kBob), "");
  ASSERT_TRUE(wallet->keep(kAlice, Secret("given")));
  EXPECT_EQ(find(kAlice), "given");
  wallet.reset();
  wallet = *Wallet::open(options, clock);
  EXPECT_EQ(find(kAlice), "given");
  EXPECT_TRUE(*wallet->drop(kAlice));
  EXPECT_FALSE(*wallet->drop(kAlice));
  EXPECT_EQ(find(kAlice), "hf_from_file");
  lies = "+evil\r\nX: y";
  clock.advance(61s);
  EXPECT_EQ(find(kAlice), "");
  lies = '+' + std::string(10'000, 'h');
  clock.advance(3s);
  EXPECT_LE(find(kAlice).size(), 8'192u);
  EXPECT_EQ(find(kOwn), "services");
  // Who could not look has not found that there is none.
  lies.clear();
  clock.advance(61s);
  const auto unknown =
      wait_for<Secret>([&](auto done) { wallet->find({.uid = kAlice}, std::move(done)); });
  EXPECT_EQ(unknown.error().code, Code::io);
}

TEST(WalletTest, AHomeThatHangsIsGivenUp) {
  const test::TemporaryDirectory folder;
  std::vector<UniqueFd> kept;
  WalletOptions options{.own = kOwn, .directory = folder.path() + "/tokens", .patience = 50ms};
  options.reader = [&](uid_t, pid_t) -> Result<UniqueFd> {
    int ends[2];
    if (::pipe(ends) != 0) return fail(Code::io, "no pipe");
    kept.emplace_back(ends[1]);
    return UniqueFd(ends[0]);
  };
  auto wallet = *Wallet::open(options, system_clock());
  const auto found = wait_for<Secret>([&](auto done) { wallet->find({.uid = kAlice}, std::move(done)); });
  EXPECT_EQ(found.error().code, Code::timed_out);
  const auto again = wait_for<Secret>([&](auto done) { wallet->find({.uid = kAlice}, std::move(done)); });
  EXPECT_EQ(again.error().code, Code::timed_out) << "it is not taken for a home without a token";
  EXPECT_EQ(kept.size(), 1u) << "nor asked again while that one is there";
  ASSERT_TRUE(wallet->drop(kAlice));
  const auto third = wait_for<Secret>([&](auto done) { wallet->find({.uid = kAlice}, std::move(done)); });
  EXPECT_EQ(third.error().code, Code::timed_out);
  EXPECT_EQ(kept.size(), 1u);
}

}  // namespace
}  // namespace hffs
