// Quantiles of recorded latencies.
#include <gtest/gtest.h>

#include <cstdint>

#include "program/latency_histogram.hpp"

namespace ipcq::program {
namespace {

TEST(LatencyHistogram, QuantilesAreWithinTwoPercent) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile_ns(0.5), 0);
  for (std::uint64_t ns = 1; ns <= 1'000'000; ++ns) histogram.record(ns);
  EXPECT_NEAR(histogram.quantile_ns(0.5), 500'000, 10'000);
  EXPECT_NEAR(histogram.quantile_ns(0.99), 990'000, 20'000);
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 1'000'001U);
  EXPECT_GT(histogram.quantile_ns(1), 1.8e19);
}

}  // namespace
}  // namespace ipcq::program
