// Memory that a queue or pool will take.
#include <gtest/gtest.h>

#include "common/footprint.hpp"

namespace ipcq::program {
namespace {

TEST(Footprint, RoundsSlotsToPagesAndAllocationsToBlocks) {
  EXPECT_EQ(host_footprint(8, 24883200).shared, 8U * 24883200);
  EXPECT_EQ(host_footprint(3, 100).shared, 3U * 128);
  EXPECT_EQ(host_footprint(3, 4097).shared, 3U * 8192);
  const Footprint bare = device_footprint(64, 24883200, Mirror::none);
  EXPECT_EQ(bare.vram, 1593835520U);  // 760 blocks of 2 MiB
  EXPECT_EQ(bare.pinned, 64U * 16);
  EXPECT_EQ(bare.shared, 0U);
  const Footprint mirrored = device_footprint(8, 24883200, Mirror::full);
  EXPECT_EQ(mirrored.pinned, 8U * 24883200 + 8 * 16);
  EXPECT_EQ(mirrored.shared, 8U * 24883200);
}

}  // namespace
}  // namespace ipcq::program
