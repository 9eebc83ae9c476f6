// SPDX-License-Identifier: Apache-2.0
//
// Who has a blob open, and what that keeps others from.
#include <gtest/gtest.h>

#include "hffs/clock.h"
#include "leases.h"

namespace hffs {
namespace {

class LeasesTest : public testing::Test {
 protected:
  std::shared_ptr<BlobFile> verified(std::uint32_t incarnation) const {
    BlobInfo info{.number = 7, .id = id_, .size = 3, .incarnation = incarnation, .verified = true};
    return BlobFile::verified(context_, std::move(info), "/nowhere", {});
  }
  std::shared_ptr<BlobFile> filled(std::uint32_t incarnation) const {
    BlobInfo info{.number = 7, .id = id_, .size = 3, .incarnation = incarnation};
    auto blob = BlobFile::filling(context_, std::move(info), "/nowhere", {}, {});
    blob->become_whole();
    return blob;
  }

  const BlobId id_ = *BlobId::parse(std::string(64, 'a'));
  const std::shared_ptr<const BlobContext> context_ = std::make_shared<const BlobContext>(
      system_disk(), std::make_shared<UsageCounters>(), std::make_shared<WorkQueue<PendingWrite>>());
  const std::shared_ptr<Leases> leases_ =
      std::make_shared<Leases>(std::make_shared<Recency>(system_clock(), 0));
};

TEST_F(LeasesTest, WhatIsOpenIsNotEvictedAndWhatIsEvictedIsNotOpened) {
  const auto blob = verified(2);
  auto first = leases_->add(blob), second = leases_->open(7);
  EXPECT_EQ(first, second);
  EXPECT_FALSE(leases_->begin_evicting(7));
  first.reset();
  EXPECT_FALSE(leases_->begin_evicting(7));
  second.reset();
  EXPECT_TRUE(leases_->begin_evicting(7));
  EXPECT_FALSE(leases_->begin_evicting(7));
  EXPECT_FALSE(leases_->begin_replacing(verified(2)));
  EXPECT_FALSE(leases_->open(7));
  leases_->end_evicting(7);
  EXPECT_TRUE(leases_->open(7));
}

TEST_F(LeasesTest, WhatIsReplacedMayBeOpenAndIsNotOpenedAnew) {
  const auto blob = verified(2);
  const auto held = leases_->add(blob);
  EXPECT_EQ(leases_->begin_replacing(verified(2)), blob);
  EXPECT_FALSE(leases_->open(7));
  EXPECT_FALSE(leases_->begin_replacing(verified(2)));
  EXPECT_FALSE(leases_->begin_evicting(7));
  leases_->end_evicting(7);
  EXPECT_EQ(leases_->open(7), held);
}

TEST_F(LeasesTest, ALaterIncarnationIsNotReplaced) {
  const auto held = leases_->add(verified(4));
  EXPECT_FALSE(leases_->begin_replacing(verified(2)));
  EXPECT_EQ(leases_->open(7), held);
}

// Before the index has told of the verdict, and after it.
TEST_F(LeasesTest, NothingIsReadableOfWhatBecameTheReplacedOne) {
  for (const bool told : {false, true}) {
    const auto blob = filled(1);
    const auto held = leases_->add(blob);
    if (told) leases_->forget(*blob);
    const auto next = verified(2);
    EXPECT_EQ(leases_->begin_replacing(next), next);
    EXPECT_TRUE(held->superseded());
    EXPECT_FALSE(held->readable({0, 1}));
    EXPECT_EQ(leases_->find(7), next);
    leases_->end_evicting(7);
    leases_->forget(*next);
  }
}

}  // namespace
}  // namespace hffs
