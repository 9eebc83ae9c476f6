// SPDX-License-Identifier: Apache-2.0
//
// Random changes of a Hub, and what a user sees of it meanwhile (see README.md).
#include <gtest/gtest.h>

#include "fs_world.h"

namespace hffs::test {
namespace {

TEST(Simulation, FileSystem) {
  simulate({.seeds = 40, .steps = 60, .body = [](Trial& trial) {
              FsWorld world(trial);
              trial.each_step([&](Dice& dice) { world.step(dice); });
            },
            .threads = true});
}

}  // namespace
}  // namespace hffs::test
