// SPDX-License-Identifier: Apache-2.0
//
// Random readers, origins and disks around the transfer engine (see README.md).
#include <gtest/gtest.h>

#include "transfer_world.h"

namespace hffs::test {
namespace {

TEST(Simulation, Transfer) {
  simulate({.seeds = 150, .steps = 100, .body = [](Trial& run) {
              TransferWorld world(run);
              run.each_step([&](Dice& dice) { world.step(dice); });
              world.heal_and_finish();
            }});
}

}  // namespace
}  // namespace hffs::test
