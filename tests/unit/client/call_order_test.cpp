#include "client/call_order.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace ipcq::detail {
namespace {

std::vector<std::uint32_t> all(const CallOrder& order) {
  std::vector<std::uint32_t> seen;
  EXPECT_FALSE(order.any_of([&](std::uint32_t i) {
    seen.push_back(i);
    return false;
  }));
  return seen;
}

std::uint32_t next(CallOrder& order) {
  std::uint32_t found = UINT32_MAX;
  EXPECT_TRUE(order.any_in_turn([&](std::uint32_t i) {
    found = i;
    return true;
  }));
  return found;
}

TEST(CallOrder, AnEmptyOneHasNobodysTurn) {
  CallOrder order(3);
  EXPECT_TRUE(order.empty());
  EXPECT_FALSE(order.contains(0));
  EXPECT_FALSE(order.any_of([](std::uint32_t) { return true; }));
  EXPECT_FALSE(order.any_in_turn([](std::uint32_t) { return true; }));
}

TEST(CallOrder, GoesRoundInTheOrderOfTheBeginning) {
  CallOrder order(4);
  for (const std::uint32_t i : {2U, 0U, 3U}) order.add(i);
  EXPECT_EQ(all(order), (std::vector<std::uint32_t>{2, 0, 3}));
  EXPECT_EQ(next(order), 2u);
  EXPECT_EQ(next(order), 0u);
  order.add(1);  // is not of this round
  EXPECT_EQ(next(order), 3u);
  for (const std::uint32_t i : {2U, 0U, 3U, 1U, 2U}) EXPECT_EQ(next(order), i);
}

TEST(CallOrder, WhoGoesPassesItsTurnOn) {
  CallOrder order(4);
  for (const std::uint32_t i : {0U, 1U, 2U}) order.add(i);
  EXPECT_EQ(next(order), 0u);
  order.remove(1);
  EXPECT_EQ(next(order), 2u);
  EXPECT_EQ(next(order), 0u);
  order.remove(2);  // whose turn it was, and the last one of the round
  order.add(2);
  EXPECT_EQ(next(order), 0u);
  EXPECT_EQ(next(order), 2u);
  order.remove(0);
  order.remove(2);
  EXPECT_TRUE(order.empty());
  order.add(3);
  EXPECT_EQ(next(order), 3u);
}

// Where there is always one that has just come, too.
TEST(CallOrder, NobodyIsPassedOverForEver) {
  CallOrder order(8);
  order.add(7);
  EXPECT_EQ(next(order), 7u);
  for (std::uint32_t i = 0; i < 4; ++i) order.add(i);
  std::uint32_t newest = 3;
  int others = 0;
  for (; others < 100; ++others) {
    const std::uint32_t i = next(order);
    if (i == 7) break;
    order.remove(i);
    newest = (newest + 1) % 7;
    order.add(newest);
  }
  EXPECT_LE(others, 5);
}

TEST(CallOrder, AnyOrderOfCallsIsThatOfAList) {
  std::mt19937 random(11);
  constexpr std::uint32_t kEntries = 9;
  CallOrder order(kEntries);
  std::vector<std::uint32_t> peer;
  std::size_t turn = 0, end_of_round = 0;  // places in it
  for (int n = 0; n < 20'000; ++n) {
    const std::uint32_t i = random() % kEntries;
    const auto found = std::find(peer.begin(), peer.end(), i);
    ASSERT_EQ(order.contains(i), found != peer.end());
    if (random() % 3 == 0 && !peer.empty()) {
      if (turn == end_of_round) {
        turn = 0;
        end_of_round = peer.size();
      }
      ASSERT_EQ(next(order), peer[turn]);
      ++turn;
    } else if (found == peer.end()) {
      order.add(i);
      peer.push_back(i);
    } else {
      const auto place = static_cast<std::size_t>(found - peer.begin());
      if (place < turn) --turn;
      if (place < end_of_round) --end_of_round;
      order.remove(i);
      peer.erase(found);
    }
    ASSERT_EQ(all(order), peer);
    ASSERT_EQ(order.size(), peer.size());
  }
}

}  // namespace
}  // namespace ipcq::detail
