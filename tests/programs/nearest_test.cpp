#include "program/nearest.hpp"

#include <gtest/gtest.h>

namespace ipcq_test {
namespace {

using ipcq::program::nearest;

TEST(Nearest, NamesWhatWasProbablyMeant) {
  const std::vector<std::string> options{"stream", "list", "sorted-set", "wait", "wait-for"};
  EXPECT_EQ(nearest("strem", options), "stream");
  EXPECT_EQ(nearest("sorted_set", options), "sorted-set");
  EXPECT_EQ(nearest("lsit", options), "list");
  EXPECT_EQ(nearest("waitfor", options), "wait-for");
  EXPECT_EQ(nearest("Wait", options), "wait");
  EXPECT_EQ(nearest("zzzzzz", options), std::nullopt);
  EXPECT_EQ(nearest("x", options), std::nullopt);
  EXPECT_EQ(nearest("x", {}), std::nullopt);
}

}  // namespace
}  // namespace ipcq_test
