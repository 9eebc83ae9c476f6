// SPDX-License-Identifier: Apache-2.0
//
// Random lives of a store: writes, wrong bytes, evictions, kills, a failing disk (see README.md).
#include <gtest/gtest.h>

#include "store_world.h"

namespace hffs::test {
namespace {

TEST(Simulation, Store) {
  simulate({.seeds = 60, .steps = 60, .body = [](Trial& trial) {
              StoreWorld world(trial);
              trial.each_step([&](Dice& dice) { world.step(dice); });
              world.finish();
            },
            .threads = true});
}

}  // namespace
}  // namespace hffs::test
