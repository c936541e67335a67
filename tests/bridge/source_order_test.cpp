#include "tasks/source_order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace ipcq_test {
namespace {

using ipcq::bridge::SourceOrder;
using testing::ElementsAre;

TEST(SourceOrderTest, AHigherPriorityIsAlwaysFirst) {
  SourceOrder order({{.name = "low"}, {.name = "high", .priority = 2}, {.name = "middle", .priority = 1}});
  for (int i = 0; i < 3; ++i) EXPECT_THAT(order.next(), ElementsAre(1, 2, 0));
}

TEST(SourceOrderTest, ThoseOfOnePriorityAreFirstAsOftenAsTheirWeightsSay) {
  SourceOrder order({{.name = "a", .weight = 3}, {.name = "b", .weight = 1}, {.name = "c", .weight = 1}});
  std::map<std::size_t, int> first;
  std::string turns;
  for (int i = 0; i < 50; ++i) {
    ++first[order.next()[0]];
    turns += static_cast<char>('a' + order.next()[0]);
    ++first[static_cast<std::size_t>(turns.back() - 'a')];
  }
  EXPECT_EQ(first[0], 60);
  EXPECT_EQ(first[1], 20);
  EXPECT_EQ(first[2], 20);
}

TEST(SourceOrderTest, EachIsInTheOrderOnce) {
  SourceOrder order({{.name = "a"}, {.name = "b"}, {.name = "c", .priority = 1}});
  for (int i = 0; i < 4; ++i) EXPECT_THAT(order.next(), testing::UnorderedElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace ipcq_test
