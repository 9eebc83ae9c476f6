// SPDX-License-Identifier: Apache-2.0
// Where an address belongs, who may send us there, and which proxy is in between: tables.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <map>

#include "address.h"
#include "proxies.h"
#include "redirects.h"

namespace hffs::hub {
namespace {

Zone zone_of_text(const std::string& text) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1)
    return zone_of(reinterpret_cast<const sockaddr&>(v6));
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  EXPECT_EQ(::inet_pton(AF_INET, text.c_str(), &v4.sin_addr), 1) << text;
  return zone_of(reinterpret_cast<const sockaddr&>(v4));
}

TEST(Zone, Table) {
  using enum Zone;
  const std::vector<std::pair<std::string, Zone>> table{
      {"8.8.8.8", global},
      {"1.1.1.1", global},
      {"203.0.113.7", global},  // documentation: nobody's
      {"192.0.2.1", global},
      {"198.51.100.1", global},
      {"0.0.0.0", reserved},
      {"0.1.2.3", reserved},
      {"1.0.0.0", global},
      {"9.255.255.255", global},
      {"10.0.0.0", internal},
      {"10.255.255.255", internal},
      {"11.0.0.0", global},
      {"100.63.255.255", global},
      {"100.64.0.0", internal},
      {"100.127.255.255", internal},
      {"100.128.0.0", global},
      {"100.100.100.200", link_local},  // Alibaba's metadata
      {"126.255.255.255", global},
      {"127.0.0.1", loopback},
      {"127.255.255.254", loopback},
      {"128.0.0.0", global},
      {"168.63.129.16", link_local},  // Azure's host
      {"168.63.129.17", global},
      {"169.253.255.255", global},
      {"169.254.0.0", link_local},
      {"169.254.169.254", link_local},
      {"169.255.0.0", global},
      {"172.15.255.255", global},
      {"172.16.0.0", internal},
      {"172.31.255.255", internal},
      {"172.32.0.0", global},
      {"192.0.0.1", internal},
      {"192.0.0.192", link_local},  // Oracle's metadata
      {"192.0.1.0", global},
      {"192.167.255.255", global},
      {"192.168.0.1", internal},
      {"192.169.0.0", global},
      {"198.17.255.255", global},
      {"198.18.0.1", internal},
      {"198.19.255.255", internal},
      {"198.20.0.0", global},
      {"223.255.255.255", global},
      {"224.0.0.1", reserved},
      {"240.0.0.1", reserved},
      {"255.255.255.255", reserved},
      {"::", reserved},
      {"::1", loopback},
      {"::2", reserved},
      {"::127.0.0.1", loopback},
      {"::8.8.8.8", global},
      {"::ffff:127.0.0.1", loopback},
      {"::ffff:169.254.169.254", link_local},
      {"::ffff:10.0.0.5", internal},
      {"::ffff:0.0.0.0", reserved},
      {"::ffff:8.8.8.8", global},
      {"::ffff:0:10.0.0.5", internal},
      {"64:ff9b::10.0.0.5", internal},
      {"64:ff9b::127.0.0.1", loopback},
      {"64:ff9b::169.254.169.254", link_local},
      {"64:ff9b::8.8.8.8", global},
      {"64:ff9b:1::8.8.8.8", internal},
      {"2002:a00:5::1", internal},
      {"2002:7f00:1::1", loopback},
      {"2002:808:808::1", global},
      {"2001:0:808:808::f5ff:fffa", internal},  // Teredo to 10.0.0.5
      {"2001:0:808:808::f7f7:f7f7", global},    // and to 8.8.8.8
      {"fe80::1", link_local},
      {"febf::1", link_local},
      {"fec0::1", internal},
      {"fc00::1", internal},
      {"fdff::1", internal},
      {"fd00:ec2::254", link_local},  // AWS's metadata
      {"ff02::1", reserved},
      {"100::1", reserved},
      {"4000::1", reserved},
      {"2000::1", global},
      {"2606:4700::1111", global},
      {"2001:db8::1", global},  // documentation
      {"3fff::1", global},
  };
  for (const auto& [text, zone] : table) EXPECT_EQ(zone_of_text(text), zone) << text;
  sockaddr other{};
  other.sa_family = AF_UNIX;
  EXPECT_EQ(zone_of(other), reserved);
}

TEST(Zone, OfHostsAsTheyStandInAddresses) {
  using enum Zone;
  const std::vector<std::pair<std::string, std::optional<Zone>>> table{
      {"127.0.0.1", loopback},     {"127.0.0.1.", loopback},  {"[::1]", loopback},
      {"[fe80::1%25eth0]", link_local}, {"fe80::1", link_local}, {"localhost", loopback},
      {"localhost.", loopback},    {"x.localhost", loopback}, {"notlocalhost", std::nullopt},
      {"10.0.0.5", internal},      {"hub.org", std::nullopt}, {"10.0.0.5.evil.org", std::nullopt},
      {"", std::nullopt},          {"[::ffff:10.0.0.5]", internal}};
  for (const auto& [host, zone] : table) EXPECT_EQ(zone_of_host(host), zone) << host;
  // Other spellings of an address are one before anything looks at them.
  for (const std::string text : {"http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"})
    EXPECT_EQ(zone_of_host(parse_url(text)->host), loopback) << text;
}

TEST(Zone, OutwardIsPossibleInwardIsNot) {
  using enum Zone;
  for (const Zone to : {loopback, link_local, reserved, internal, global}) {
    EXPECT_TRUE(may_lead(loopback, to));
    EXPECT_EQ(may_lead(global, to), to == global);
    EXPECT_EQ(may_lead(internal, to), to == internal || to == global);
    EXPECT_EQ(may_lead(link_local, to), to == link_local || to == global);
    EXPECT_EQ(narrower(loopback, to), to);
    EXPECT_EQ(narrower(global, to), global);
  }
  EXPECT_EQ(narrower(internal, internal), internal);
  EXPECT_EQ(narrower(internal, loopback), internal);
  EXPECT_EQ(narrower(internal, link_local), global);
}

TEST(Zone, AJourneyIsAsTrustedAsItsLeastTrustedHop) {
  Journey journey(*parse_url("http://hub.lan"), *parse_url("http://hub.lan/a"));
  EXPECT_EQ(journey.sender(), Zone::loopback);
  journey.note_answer(Zone::internal);
  EXPECT_EQ(journey.sender(), Zone::internal);
  journey.note_answer(Zone::global);
  journey.note_answer(Zone::internal);
  EXPECT_EQ(journey.sender(), Zone::global) << "once out, never in again";
  EXPECT_EQ(Journey(*parse_url("http://hub.lan"), *parse_url("http://store/a"), Zone::internal).sender(), Zone::internal);
}

TEST(ListedHosts, ExactAndBySuffix) {
  const std::vector<std::string> listed{"minio.lab", ".cache.lan", "10.0.0.5", "fd00::7"};
  for (const std::string host : {"minio.lab", "minio.lab.", "a.cache.lan", "a.b.cache.lan", "10.0.0.5", "[fd00::7]"})
    EXPECT_TRUE(is_listed(listed, host)) << host;
  for (const std::string host : {"lab", "xminio.lab", "a.minio.lab", "cache.lan", "evilcache.lan", ".cache.lan", "10.0.0.50",
                                  "10.0.0.5.evil.org", "[fd00::8]", ""})
    EXPECT_FALSE(is_listed(listed, host)) << host;
}

Proxies proxies_of(std::map<std::string, std::string> variables) {
  return read_proxies([variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

TEST(Proxies, WhichVariable) {
  const Url http = *parse_url("http://h/"), https = *parse_url("https://h/");
  EXPECT_EQ(proxies_of({}).of(http), "");
  EXPECT_EQ(proxies_of({{"HTTP_PROXY", "p"}}).of(http), "p");
  EXPECT_EQ(proxies_of({{"HTTP_PROXY", "p"}}).of(https), "");
  EXPECT_EQ(proxies_of({{"http_proxy", "q"}, {"HTTP_PROXY", "p"}}).of(http), "q");
  EXPECT_EQ(proxies_of({{"HTTPS_PROXY", "p"}, {"ALL_PROXY", "a"}}).of(https), "p");
  EXPECT_EQ(proxies_of({{"HTTPS_PROXY", "p"}, {"ALL_PROXY", "a"}}).of(http), "a");
  EXPECT_EQ(proxies_of({{"https_proxy", ""}, {"all_proxy", "a"}}).of(https), "a");
}

TEST(Proxies, WhoIsExempt) {
  const auto direct = [](const std::string& no_proxy, const std::string& url) {
    return proxies_of({{"ALL_PROXY", "p"}, {"NO_PROXY", no_proxy}}).of(*parse_url(url)).empty();
  };
  EXPECT_FALSE(direct("", "http://h/"));
  EXPECT_TRUE(direct("*", "http://h/"));
  EXPECT_TRUE(direct("a, H ,b", "http://h/"));
  EXPECT_TRUE(direct("a b.org", "http://x.b.org:8080/"));
  EXPECT_TRUE(direct(".b.org", "http://x.B.org./"));
  EXPECT_TRUE(direct(".b.org", "http://b.org/"));
  EXPECT_FALSE(direct("b.org", "http://xb.org/"));
  EXPECT_FALSE(direct("b.org", "http://b.org.evil/"));
  EXPECT_TRUE(direct("127.0.0.1", "http://127.0.0.1:9/"));
  EXPECT_TRUE(direct("10.0.0.0/8,::1", "https://10.9.8.7/"));
  EXPECT_FALSE(direct("10.0.0.0/16", "https://10.9.8.7/"));
  EXPECT_TRUE(direct("10.9.8.6/31", "https://10.9.8.7/"));
  EXPECT_TRUE(direct("[::1]", "https://[::1]/"));
  EXPECT_TRUE(direct("fd00::/8", "https://[fd12::1]/"));
  EXPECT_FALSE(direct("0.0.0.1", "https://10.0.0.1/")) << "no suffix of an address";
  EXPECT_FALSE(direct("10.0.0.0/99,10.0.0.0/x", "https://10.0.0.0/"));
}

}  // namespace
}  // namespace hffs::hub
