#include "broker/client_ids.hpp"

#include <gtest/gtest.h>

#include "protocol/ring.hpp"

namespace ipcq::detail {
namespace {

bool none(std::uint32_t) { return false; }

TEST(ClientIds, BeginBehindThatOfTheBroker) {
  ClientIds ids;
  EXPECT_EQ(ids.take(none), kBrokerClient + 1);
  EXPECT_EQ(ids.take(none), kBrokerClient + 2);
  EXPECT_TRUE(ids.is_in_use(kBrokerClient + 2));
}

TEST(ClientIds, OneThatIsStillBorneIsPassedOver) {
  ClientIds ids;
  EXPECT_EQ(ids.take([](std::uint32_t id) { return id < 5; }), 5u);
}

TEST(ClientIds, GoRoundAllBeforeOneComesBackAndPassOverThoseInUse) {
  ClientIds ids;
  const std::uint32_t kept = ids.take(none);
  const std::uint32_t given_back = ids.take(none);
  ids.give_back(given_back);
  EXPECT_FALSE(ids.is_in_use(given_back));
  std::uint32_t last = 0;
  do {
    last = ids.take(none);
    ASSERT_NE(last, given_back);
    ids.give_back(last);
  } while (last != kClientMask);
  EXPECT_EQ(ids.take(none), given_back) << "not 0, not the broker's, not " << kept;
}

}  // namespace
}  // namespace ipcq::detail
