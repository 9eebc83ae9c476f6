// SPDX-License-Identifier: Apache-2.0
//
// What is said to the service manager, byte by byte.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "service_manager.h"

namespace hffs::keeper {
namespace {

// Listens on an abstract address of its own.
class ServiceManagerTest : public testing::Test {
 protected:
  ServiceManagerTest() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    const std::string name = "hffs-unit-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  }
  ~ServiceManagerTest() override { ::unsetenv("NOTIFY_SOCKET"); }

  std::string heard() const {
    char text[8'192];
    const ssize_t count = ::recv(socket_.get(), text, sizeof(text), 0);
    return count < 0 ? "" : std::string(text, static_cast<std::size_t>(count));
  }

  UniqueFd socket_;
};

TEST_F(ServiceManagerTest, SaysWhatGoesOn) {
  ServiceManager manager(true);
  manager.ready("serving");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=serving");
  manager.status("waiting");
  EXPECT_EQ(heard(), "STATUS=waiting");
  manager.reloading("looking");
  EXPECT_TRUE(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  manager.stopping("ending");
  EXPECT_EQ(heard(), "STOPPING=1\nSTATUS=ending");
}

TEST_F(ServiceManagerTest, NobodyElseHearsOfIt) {
  const ServiceManager manager(true);
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
}

TEST_F(ServiceManagerTest, WhoIsNoServiceSaysNothing) {
  ServiceManager manager(false);
  manager.ready("serving");
  EXPECT_EQ(heard(), "");
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
}

TEST_F(ServiceManagerTest, AnAddressThatIsNoneIsNobody) {
  for (const std::string& address : {std::string("relative"), std::string("/nobody/here"), std::string("@"), std::string("/"),
                                     "/" + std::string(200, 'a')}) {
    ::setenv("NOTIFY_SOCKET", address.c_str(), 1);
    ServiceManager manager(true);
    manager.ready("serving");
  }
  EXPECT_EQ(heard(), "");
}

TEST_F(ServiceManagerTest, WhatComesFromOutsideIsOneLine) {
  ServiceManager manager(true);
  manager.ready("bad\nMAINPID=1\r\t\x7f!");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=bad MAINPID=1   !");
}

TEST(StatusLineTest, IsCutBetweenCharacters) {
  const std::string wide = std::string(999, 'a') + "ü" + std::string(10, 'b');
  EXPECT_EQ(status_line(wide), std::string(999, 'a'));
  EXPECT_EQ(status_line(std::string(998, 'a') + "üb"), std::string(998, 'a') + "ü");
  EXPECT_EQ(status_line("ü"), "ü");
}

}  // namespace
}  // namespace hffs::keeper
