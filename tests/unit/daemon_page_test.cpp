// SPDX-License-Identifier: Apache-2.0
//
// Whose a connection within this machine is, and by which names the status page is asked for.
#include <gtest/gtest.h>

#include "page_socket.h"
#include "status_page.h"

namespace hffs {
namespace {

constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:23A3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000 100 0 0 10 0\n"
    "   1: 0100007F:C350 0100007F:23A3 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0000 20 4 30 10 -1\n"
    "   2: 0100007F:23A3 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4244 1 0000 20 4 30 10 -1\n"
    "   3: 0100007F:C351 0100007F:23A3 04 00000000:00000000 01:00000000 00000000     0        0 0 3 0000\n"
    "  10: 0100007F:C352 0100007F:23A3 08 00000000:00000000 00:00000000 00000000  4294967294        0 4250 1 0000\n";

TEST(PageSocketTest, TheUserOfTheOtherEnd) {
  EXPECT_EQ(owner_in(kTable, "0100007F:C350", "0100007F:23A3"), 1000u);
  EXPECT_EQ(owner_in(kTable, "0100007F:C352", "0100007F:23A3"), 4294967294u);
}

TEST(PageSocketTest, OfAConnectionThatNobodyHasAnyMore) {
  EXPECT_EQ(owner_in(kTable, "0100007F:C351", "0100007F:23A3"), std::nullopt);
}

TEST(PageSocketTest, WhatIsNotThereIsNobodys) {
  EXPECT_EQ(owner_in(kTable, "0100007F:C353", "0100007F:23A3"), std::nullopt);
  EXPECT_EQ(owner_in(kTable, "0100007F:C35", "0100007F:23A3"), std::nullopt);
  EXPECT_EQ(owner_in("", "0100007F:C350", "0100007F:23A3"), std::nullopt);
  EXPECT_EQ(owner_in("   1: 0100007F:C350 0100007F:23A3 01 00", "0100007F:C350", "0100007F:23A3"), std::nullopt);
}

TEST(PageSocketTest, ItsOwnAddressIsANameToo) {
  EXPECT_TRUE(names_this_machine("127.1.2.3:9123", "127.1.2.3:9123"));
  EXPECT_FALSE(names_this_machine("127.1.2.3:9123", "127.0.0.1:9123"));
  EXPECT_FALSE(names_this_machine("unix", "unix:/run/page.sock"));
  EXPECT_FALSE(names_this_machine("[::1]evil", "[::1]:9123"));
}

}  // namespace
}  // namespace hffs
