#include "redis/address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ipcq/error.hpp>

#include "errors.hpp"

namespace ipcq_test {
namespace {

using ipcq::UsageError;
using ipcq::bridge::Address;
using ipcq::bridge::parse_address;
using testing::HasSubstr;

TEST(AddressTest, AUrlSaysHostPortDatabaseAndUser) {
  const Address all = parse_address("redis://me:pass%40word@host:7000/3", "--redis");
  EXPECT_EQ(all.host, "host");
  EXPECT_EQ(all.port, 7000);
  EXPECT_EQ(all.database, 3);
  EXPECT_EQ(all.user, "me");
  EXPECT_EQ(all.password, "pass@word");
  const Address least = parse_address("redis://host", "--redis");
  EXPECT_EQ(least.port, 6379);
  EXPECT_EQ(least.database, 0);
  EXPECT_EQ(parse_address("redis://[::1]:7000", "--redis").host, "::1");
  EXPECT_EQ(parse_address("redis://[::1]:7000", "--redis").port, 7000);
  EXPECT_EQ(parse_address("redis://host/", "--redis").host, "host");
}

TEST(AddressTest, AUrlSaysASocketsPath) {
  const Address socket = parse_address("unix://me@/run/redis.sock?db=2", "--redis");
  EXPECT_EQ(socket.socket, "/run/redis.sock");
  EXPECT_EQ(socket.database, 2);
  EXPECT_EQ(socket.user, "me");
}

TEST(AddressTest, AUrlSaysSentinelsAndTheirNameForTheServer) {
  const Address address = parse_address("redis-sentinel://me@a,b:7000,[::1]:7001/main/2", "--redis");
  ASSERT_EQ(address.sentinels.size(), 3U);
  EXPECT_EQ(address.sentinels[0].host, "a");
  EXPECT_EQ(address.sentinels[0].port, 26379);
  EXPECT_EQ(address.sentinels[1].port, 7000);
  EXPECT_EQ(address.sentinels[2].host, "::1");
  EXPECT_EQ(address.master, "main");
  EXPECT_EQ(address.database, 2);
  EXPECT_EQ(address.user, "me");
  EXPECT_EQ(address.text(), "redis-sentinel://me@a:26379,b:7000,[::1]:7001/main/2");
  for (const char* url :
       {"redis-sentinel://a", "redis-sentinel://a/", "redis-sentinel:///main", "redis-sentinel://a,/main"}) {
    EXPECT_THAT(error_of<UsageError>([&] { parse_address(url, "--redis"); }), HasSubstr("is missing")) << url;
  }
}

TEST(AddressTest, ItsTextIsAUrlWithoutThePassword) {
  for (const char* url : {"redis://me@host:7000/3", "redis://[::1]:6379", "unix:///run/redis.sock?db=2"}) {
    EXPECT_EQ(parse_address(url, "--redis").text(), url);
  }
  EXPECT_EQ(parse_address("redis://me:secret@host", "--redis").text(), "redis://me@host:6379");
}

TEST(AddressTest, WhatIsNoAddressIsRefusedWithTheForms) {
  for (const char* url : {"host:6379", "http://host", "redis://", "redis://:6379", "redis://[::1", "redis://[::1]x",
                          "unix://relative", "unix:///path?x=1", "redis://a%4@host", "redis://a%zz@host"}) {
    EXPECT_THAT(error_of<UsageError>([&] { parse_address(url, "--redis"); }),
                testing::AllOf(HasSubstr("--redis: "), HasSubstr("redis://[user@]host[:port][/database]")))
        << url;
  }
  for (const char* url :
       {"redis://host:0", "redis://host:65536", "redis://host:", "redis://host/x", "redis://host/-1"}) {
    EXPECT_THAT(error_of<UsageError>([&] { parse_address(url, "--redis"); }), HasSubstr("--redis: the ")) << url;
  }
}

TEST(AddressTest, NoPartOfAPasswordIsShown) {
  EXPECT_THAT(
      error_of<UsageError>([] { parse_address("redis://user:12s3cret/x@host", "IPCQ_REDIS_URL"); }),
      testing::AllOf(HasSubstr("write / as %2F"), testing::Not(HasSubstr("s3cret")), testing::Not(HasSubstr("x@"))));
}

TEST(AddressTest, TlsIsRefusedWithWhatHelps) {
  EXPECT_THAT(error_of<UsageError>([&] { parse_address("rediss://host", "--redis"); }),
              testing::AllOf(HasSubstr("TLS"), HasSubstr("stunnel")));
}

}  // namespace
}  // namespace ipcq_test
